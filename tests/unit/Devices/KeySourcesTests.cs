using System;
using System.IO;
using System.Text;
using Qcow2Blk.Buffers;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Shared;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Keys come from where the options say, byte for byte, and the options never have them.</summary>
public sealed class KeySourcesTests : IDisposable
{
    private const string Variable = "QCOW2BLK_TEST_KEY";

    private readonly TempDirectory _directory = new();
    private readonly AttachOptions _plain = new() { Image = "/disk.qcow2", SocketPath = "/s" };

    public void Dispose()
    {
        Environment.SetEnvironmentVariable(Variable, null);
        Environment.SetEnvironmentVariable(KeySources.CredentialsVariable, null);
        _directory.Dispose();
    }

    [Fact]
    public void Keys_are_the_bytes_that_are_there()
    {
        byte[] binary = [0, 0xff, (byte)'\n', 7, (byte)'\n'];
        File.WriteAllBytes(_directory.File("key"), binary);
        var large = new byte[70_000];
        new Random(1).NextBytes(large);
        File.WriteAllBytes(_directory.File("cred"), large);
        Environment.SetEnvironmentVariable(KeySources.CredentialsVariable, Path.GetDirectoryName(_directory.File("cred")));
        Environment.SetEnvironmentVariable(Variable, "kéy");
        var options = _plain with { KeyFiles = [_directory.File("key")], KeyCredentials = ["cred"], KeyVariables = [Variable] };
        var keys = KeySources.Read(options);
        Assert.True(keys[0].Span.SequenceEqual(binary));
        Assert.True(keys[1].Span.SequenceEqual(large));
        Assert.True(keys[2].Span.SequenceEqual("kéy"u8));
        KeySources.Dispose(keys, options);
        Assert.All(keys, key => Assert.Throws<ObjectDisposedException>(() => key.Buffer));
    }

    [Fact]
    public void Key_that_is_not_there_is_refused_by_where_it_should_be()
    {
        var missing = _directory.File("none");
        AssertRefused(_plain with { KeyFiles = [missing] }, $"cannot read key file {missing}: ");
        File.WriteAllBytes(missing, []);
        AssertRefused(_plain with { KeyFiles = [missing] }, $"cannot read key file {missing}: it is empty");
        AssertRefused(_plain with { KeyVariables = [Variable] }, $"cannot read the key in ${Variable}: the variable is not set, or empty");
        AssertRefused(_plain with { KeyCredentials = ["x"] }, "cannot read credential x: $CREDENTIALS_DIRECTORY is not set");
        File.WriteAllBytes(missing, new byte[Limits.MaxKeyBytes + 1]);
        AssertRefused(_plain with { KeyFiles = [missing] }, $"cannot read key file {missing}: a key has at most {Limits.MaxKeyBytes} bytes");
        AssertRefused(_plain with { KeyFd = 987 }, "cannot read descriptor 987: ", KeySources.Collect);
    }

    [Fact]
    public void Key_of_a_descriptor_is_taken_at_once_and_told_by_no_text()
    {
        Assert.Equal(0, Unistd.Pipe(out var read, out var write));
        Assert.Equal(0, Unistd.WriteAll(write, "from a pipe\n"u8));
        _ = Unistd.Close(write);
        var options = KeySources.Collect(_plain with { KeyFd = read });
        _ = Unistd.Close(read);
        Assert.Null(options.KeyFd);
        Assert.True(options.HeldKey!.Span.SequenceEqual("from a pipe\n"u8));
        Assert.Same(options, KeySources.Collect(options));
        var json = Encoding.UTF8.GetString(AttachOptionsJson.Write(options));
        Assert.Contains("\"key-held\":true", json, StringComparison.Ordinal);
        Assert.DoesNotContain("pipe", json + options, StringComparison.Ordinal);
        Assert.Same(options.HeldKey, KeySources.Read(options)[0]);
        options.HeldKey.Dispose();
    }

    /// <summary>What the state file of a dead server says.</summary>
    [Fact]
    public void Key_that_went_with_its_server_is_asked_for_and_can_be_replaced()
    {
        var kept = AttachOptionTable.OfNextServer(AttachOptionsJson.Read(AttachOptionsJson.Write(_plain with { KeyIsHeld = true })));
        Assert.True(kept.KeyIsHeld);
        AssertRefused(kept, "cannot attach /disk.qcow2: its key was given by --key-fd or --key-prompt, and is gone", KeySources.Collect);
        Assert.False(KeySources.Collect(kept with { KeyFiles = ["/key"] }).KeyIsHeld);
    }

    [Fact]
    public void Key_goes_to_another_process_through_a_file_that_is_wiped()
    {
        using var key = SecretMemory.CopyOf("handed over"u8);
        var fd = KeyHandOver.Send(key);
        Assert.True(fd >= 0);
        Assert.NotEqual(0, Fcntl.Control(fd, F_GETFD, 0) & FD_CLOEXEC);
        var other = Fcntl.Control(fd, F_DUPFD_CLOEXEC, 0);
        using var received = KeyHandOver.Receive(fd);
        Assert.True(received!.Span.SequenceEqual("handed over"u8));
        using var wiped = KeyHandOver.Receive(other);
        Assert.False(wiped!.Span.ContainsAnyExcept((byte)0));
        Assert.Null(KeyHandOver.Receive(987));
    }

    private static void AssertRefused(AttachOptions options, string message, Func<AttachOptions, AttachOptions>? how = null)
    {
        var refused = Assert.Throws<OutcomeException>(() =>
        {
            if (how is not null)
                how(options);
            else
                KeySources.Read(options);
        });
        Assert.StartsWith(message, refused.Message, StringComparison.Ordinal);
    }
}
