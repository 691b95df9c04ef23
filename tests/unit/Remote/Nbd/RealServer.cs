using System;
using System.Diagnostics;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>Another program's server of a file, for one test. The file has a pattern, a hole and a part of zeroes.</summary>
internal sealed class RealServer : IDisposable
{
    public const int Size = (4 << 20) + 512, HoleStart = 1 << 20, HoleEnd = 2 << 20;

    private readonly TempDirectory _directory = new();
    private readonly string[] _command;
    private Process? _process;

    private RealServer(Func<RealServer, string[]> command)
    {
        Disk = _directory.File("disk");
        Write(Disk);
        Socket = _directory.File("sock");
        Port = FreePort();
        _command = command(this);
        Assert.SkipUnless(File.Exists("/usr/bin/" + _command[0]) || File.Exists("/usr/sbin/" + _command[0]), $"no {_command[0]}");
        Start();
    }

    public string Disk { get; }

    public string Socket { get; }

    public int Port { get; }

    public string Url(string export) => $"nbd+unix:///{export}?socket={Socket}";

    /// <summary>nbdkit on the unix socket.</summary>
    public static RealServer Nbdkit(params string[] arguments) =>
        new(server => ["nbdkit", "--foreground", "--unix", server.Socket, "--readonly", .. Filled(server, arguments)]);

    /// <summary>nbdkit on the TCP port.</summary>
    public static RealServer NbdkitTcp(params string[] arguments) => new(server =>
        ["nbdkit", "--foreground", "--ipaddr", "127.0.0.1", "--port", $"{server.Port}", "--readonly", .. Filled(server, arguments)]);

    public static RealServer QemuNbd(params string[] arguments) => new(server =>
        ["qemu-nbd", "--read-only", "--persistent", $"--socket={server.Socket}", .. arguments, "--format=raw", server.Disk]);

    public static RealServer QemuNbdTcp(params string[] arguments) => new(server =>
        ["qemu-nbd", "--read-only", "--persistent", "--bind=127.0.0.1", $"--port={server.Port}", .. arguments, "--format=raw",
            server.Disk]);

    /// <summary>What the file holds.</summary>
    public static byte[] Expected(int offset, int length)
    {
        var bytes = ServerEnd.Pattern((ulong)offset, length);
        for (var i = Math.Max(offset, HoleStart); i < Math.Min(offset + length, HoleEnd); i++)
            bytes[i - offset] = 0;
        return bytes;
    }

    public void Start()
    {
        _process = Process.Start(new ProcessStartInfo(_command[0], _command[1..]) { RedirectStandardError = true })!;
        _process.BeginErrorReadLine();
        for (var i = 0; i < 1000; i++)
        {
            if (IsListening())
                return;
            Assert.False(_process.HasExited, $"{string.Join(' ', _command)} ended");
            Thread.Sleep(10);
        }

        Assert.Fail($"{string.Join(' ', _command)} does not listen");
    }

    public void Stop()
    {
        _process!.Kill();
        _process.WaitForExit();
        _process.Dispose();
        File.Delete(Socket);
    }

    public void Dispose()
    {
        Stop();
        _directory.Dispose();
    }

    private static string[] Filled(RealServer server, string[] arguments) =>
        Array.ConvertAll(arguments, argument => argument.Replace("DISK", server.Disk, StringComparison.Ordinal));

    private static void Write(string path)
    {
        using var file = File.Create(path);
        file.Write(ServerEnd.Pattern(0, HoleStart));
        file.Position = HoleEnd;
        file.Write(ServerEnd.Pattern(HoleEnd, Size - HoleEnd));
    }

    private static int FreePort()
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        listener.Stop();
        return port;
    }

    /// <summary>By the kernel's word: a connection would be the first client of a server that takes one.</summary>
    private bool IsListening()
    {
        var hex = $":{Port:X4} ";
        return File.ReadAllText("/proc/net/unix").Contains(Socket, StringComparison.Ordinal)
            || Array.Exists(File.ReadAllLines("/proc/net/tcp"), line => line.Contains(hex, StringComparison.Ordinal)
                && line.Contains(" 0A ", StringComparison.Ordinal));
    }
}
