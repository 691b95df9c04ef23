using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Xunit;
using static Qcow2Blk.Tests.Exports.Nbd.Wire;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>qemu-nbd with an export like <see cref="Export"/>, for as long as the tests of one class run.</summary>
public sealed class QemuNbd : IDisposable
{
    /// <summary>What qemu-nbd offers of a writable raw file of 16 MiB.</summary>
    internal static readonly ExportInfo Export = Catalog.Disk with { PreferredBlockSize = 4096 };

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("nbd-qemu-");
    private readonly Process? _process;

    public QemuNbd()
    {
        if (!File.Exists("/usr/bin/qemu-nbd"))
            return;
        var disk = Path.Combine(_directory.FullName, "disk.raw");
        using (var file = File.Create(disk))
            file.SetLength(Export.Size);
        string[] arguments =
        [
            "--format=raw", "--export-name=disk", "--description=a disk", "--allocation-depth", "--shared=4", "--persistent",
            $"--socket={SocketPath}", disk,
        ];
        _process = Process.Start(new ProcessStartInfo("qemu-nbd", arguments) { RedirectStandardError = true })!;
        _process.BeginErrorReadLine(); // it complains about every client that misbehaves
        for (var i = 0; i < 500 && !File.Exists(SocketPath); i++)
            Thread.Sleep(10);
    }

    private string SocketPath => Path.Combine(_directory.FullName, "s");

    /// <summary>Everything qemu-nbd says to a client that sends these bytes and then disconnects.</summary>
    public byte[] Answer(params byte[][] input)
    {
        Assert.SkipWhen(_process is null, "no qemu-nbd (Debian: qemu-utils)");
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 10_000 };
        socket.Connect(new UnixDomainSocketEndPoint(SocketPath));
        socket.Send(Join(input));
        socket.Shutdown(SocketShutdown.Send);
        var (output, buffer) = (new MemoryStream(), new byte[65536]);
        try
        {
            for (int received; (received = socket.Receive(buffer)) > 0;)
                output.Write(buffer, 0, received);
        }
        catch (SocketException failure) when (failure.SocketErrorCode == SocketError.ConnectionReset)
        {
            // It hung up with bytes of ours unread.
        }

        return output.ToArray();
    }

    public void Dispose()
    {
        _process?.Kill();
        _process?.WaitForExit();
        _process?.Dispose();
        _directory.Delete(recursive: true);
    }
}

/// <summary>The same client bytes to qemu-nbd and to us: the same answers, byte for byte, where no text is free.</summary>
public sealed class QemuNbdTests(QemuNbd qemu) : IClassFixture<QemuNbd>
{
    private static readonly Catalog s_exports = new(QemuNbd.Export);

    public static TheoryData<string> EqualConversations => [.. s_conversations.Keys];

    public static TheoryData<string> EqualErrors => [.. s_errors.Keys];

    private static readonly Dictionary<string, byte[]> s_conversations = new()
    {
        ["list"] = Join(FixedNewstyle, List(), Abort()),
        ["info"] = Join(FixedNewstyle, Info("disk", 3), Abort()),
        ["info, nothing asked"] = Join(FixedNewstyle, Info("disk"), Abort()),
        ["info, everything asked"] = Join(FixedNewstyle, Info("disk", 0, 1, 2, 3), Abort()),
        ["info, unknown information"] = Join(FixedNewstyle, Info("disk", 3, 99), Abort()),
        ["structured replies"] = Join(FixedNewstyle, StructuredReply(), Info("disk", 3), Abort()),
        ["all contexts"] = Join(FixedNewstyle, StructuredReply(), ListContexts("disk"), Abort()),
        ["contexts by wildcard"] = Join(FixedNewstyle, StructuredReply(), ListContexts("disk", "base:", "qemu:"), Abort()),
        ["one context listed"] = Join(FixedNewstyle, StructuredReply(), ListContexts("disk", "qemu:allocation-depth"), Abort()),
        ["contexts set"] = Join(FixedNewstyle, StructuredReply(), SetContexts("disk", "base:allocation", "qemu:allocation-depth"), Abort()),
        ["unknown contexts"] = Join(FixedNewstyle, StructuredReply(), SetContexts("disk", "base:other", "x-some:thing", "base:"), Abort()),
        ["go"] = Join(FixedNewstyle, StructuredReply(), Go("disk", 3)),
        ["go, nothing asked"] = Join(FixedNewstyle, Go("disk")),
        ["go without zeroes"] = Join(FixedNewstyleNoZeroes, Go("disk", 1, 3)),
        ["export name"] = Join(FixedNewstyle, ExportName("disk")),
        ["export name without zeroes"] = Join(FixedNewstyleNoZeroes, StructuredReply(), ExportName("disk")),
        ["unknown export name"] = Join(FixedNewstyle, ExportName("nope")),
        ["unknown client flags"] = Hex("00000007"),
        ["bad magic"] = Join(FixedNewstyle, Hex("49484156454F5055 00000003 00000000")),
    };

    private static readonly Dictionary<string, byte[]> s_errors = new()
    {
        ["unknown option"] = Join(FixedNewstyle, Option(99, Hex("010203")), Abort()),
        ["withdrawn option"] = Join(FixedNewstyle, Option(4), Abort()),
        ["list with data"] = Join(FixedNewstyle, Option(3, Hex("00")), Abort()),
        ["structured reply with data"] = Join(FixedNewstyle, Option(8, Hex("00")), Abort()),
        ["unknown export"] = Join(FixedNewstyle, Info("nope"), Abort()),
        ["unknown export, go"] = Join(FixedNewstyle, Go("nope"), Abort()),
        ["malformed go"] = Join(FixedNewstyle, Option(7, Hex("00000005 6469736b")), Abort()),
        ["go with a lying count"] = Join(FixedNewstyle, Option(7, Counted("disk"), Hex("0002 0003")), Abort()),
        ["contexts too early"] = Join(FixedNewstyle, SetContexts("disk", "base:allocation"), Abort()),
        ["contexts of an unknown export"] = Join(FixedNewstyle, StructuredReply(), SetContexts("nope", "base:allocation"), Abort()),
        ["queries that lie"] = Join(FixedNewstyle, StructuredReply(), Option(10, Counted("disk"), U32(1), U32(99), Text("base:")), Abort()),
    };

    [Theory]
    [MemberData(nameof(EqualConversations))]
    public void Answers_equal_those_of_qemu_nbd(string conversation)
    {
        var input = s_conversations[conversation];

        Assert.Equal(Convert.ToHexString(qemu.Answer(input)), Convert.ToHexString(Ours(input)));
    }

    [Theory]
    [MemberData(nameof(EqualErrors))]
    public void Errors_are_of_the_type_that_qemu_nbd_sends(string conversation)
    {
        var input = s_errors[conversation];

        Assert.Equal(Types(qemu.Answer(input)), Types(Ours(input)));

        static IEnumerable<(uint, uint)> Types(byte[] answer) =>
            OptionReply.Parse(answer.AsSpan(18)).Select(reply => (reply.Option, reply.Type));
    }

    private static byte[] Ours(byte[] input)
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        var handshake = new Handshake(s_exports);
        Handshake.Greeting(output);
        handshake.Advance(input, out _, output);
        return output.WrittenSpan.ToArray();
    }
}
