using System;
using System.Linq;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Qcow2Blk.Tests.Tidy;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>Signals belong to the program that a server lives in: what it sends to a peer that is gone raises none.</summary>
public sealed partial class SignalTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>The near end of a connection whose far end is closed.</summary>
    private static int Broken()
    {
        Assert.Equal(0, Sockets.Pair(out var near, out var far));
        _ = Unistd.Close(far);
        return near;
    }

    [Fact]
    public void Test_notices_a_write_that_raises_one()
    {
        var near = Broken();
        Assert.True(BrokenPipe.IsRaisedBy(() => Assert.Equal(-Errno.EPIPE, Unistd.WriteAll(near, "x"u8))));
        _ = Unistd.Close(near);
    }

    [Fact]
    public void Answer_to_a_client_that_is_gone_raises_none()
    {
        var near = Broken();
        Assert.False(BrokenPipe.IsRaisedBy(() => Assert.Equal(-Errno.EPIPE, UnixSocket.SendAll(near, "x"u8))));
        Assert.False(BrokenPipe.IsRaisedBy(() => Assert.Equal(-Errno.EPIPE, UnixSocket.SendAll(near, "x"u8, [0]))));
        Assert.False(BrokenPipe.IsRaisedBy(() => Assert.Equal(-Errno.EPIPE, UnixSocket.TrySend(near, "x"u8))));
        _ = Unistd.Close(near);
    }

    /// <summary>The runtime's own sockets do raise it: whoever sends by one in the library kills the program that it lives in.</summary>
    [Fact]
    public void Library_sends_by_no_socket_of_the_runtime()
    {
        using var socket = new Socket(new SafeSocketHandle(Broken(), ownsHandle: true));
        Assert.True(BrokenPipe.IsRaisedBy(() => Assert.Throws<SocketException>(() => socket.Send(new byte[1]))));
        var sends = SourceTree.Files("libqcow2", "*.cs").Where(file => SendOfTheRuntime().IsMatch(SourceTree.Read(file)));
        Assert.True(!sends.Any(), string.Join(Environment.NewLine, sends));
    }

    [GeneratedRegex(@"\.Send(Async|To|ToAsync|File|FileAsync)?\(.*SocketFlags|NetworkStream")]
    private static partial Regex SendOfTheRuntime();

    [Fact]
    public void Command_to_a_server_that_is_gone_raises_none()
    {
        var runtime = RuntimeDirectory.At(_directory.Path);
        var listener = UnixSocket.Serve(runtime.SocketOf("disk"), 1);
        using var client = ControlClient.TryConnect(runtime, "disk")!;
        using var alarm = new Alarm();
        _ = Unistd.Close(listener);
        var hello = new ControlRequest(ControlVerb.Hello, TimeSpan.Zero, false, false);
        Assert.False(BrokenPipe.IsRaisedBy(() => Assert.Throws<OutcomeException>(() => client.Ask(hello))));
        Assert.False(BrokenPipe.IsRaisedBy(() => Assert.False(client.Greets(TimeSpan.Zero))));
    }

    /// <summary>More options than a pipe or socket holds, to a process that ends without reading them.</summary>
    [Fact]
    public void Start_of_a_server_that_dies_at_once_raises_none()
    {
        var options = new AttachOptions { Image = "/" + new string('x', 1 << 20) };
        var program = new ServerProgram("/bin/true", []);
        Assert.False(BrokenPipe.IsRaisedBy(() =>
        {
            var pid = program.Start(["serve"], options, -1, []);
            Assert.True(pid > 0);
            Assert.Equal(0, Spawn.Wait(pid));
        }));
    }

    [Fact]
    public void Server_leaves_the_action_of_every_signal_as_it_was()
    {
        var before = Actions();
        var device = new FakeDevice("disk", "/data/disk.qcow2");
        using (DeviceServer.Start(new AttachOptions { Image = device.ImagePath, SocketPath = "/run/x" }, new FakeFactory((_, _) => device),
            new DeviceRegistry(RuntimeDirectory.At(_directory.File("run"))), new NoLog()))
        {
            Assert.Equal(before, Actions());
        }
    }

    private static string Actions() => string.Join('\n', Array.FindAll(System.IO.File.ReadAllLines("/proc/self/status"),
        line => line.StartsWith("SigIgn", StringComparison.Ordinal) || line.StartsWith("SigCgt", StringComparison.Ordinal)));
}
