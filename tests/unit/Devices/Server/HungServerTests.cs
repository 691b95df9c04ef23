using System;
using System.Diagnostics;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>A server that does not answer is killed by force, but not the program that it is only a guest in.</summary>
public sealed class HungServerTests : IDisposable
{
    private static readonly ControlRequest s_byForce = new(ControlVerb.Detach, TimeSpan.FromSeconds(5), Force: true, AllowShrink: false);

    private readonly StateFiles _files = new();
    private readonly Process _server = Process.Start("/bin/sleep", "600");

    public void Dispose()
    {
        _server.Kill();
        _server.Dispose();
        _files.Dispose();
    }

    [Fact]
    public void Command_to_one_that_accepts_nobody_ends_after_a_time()
    {
        var listener = UnixSocket.Serve(_files.Registry.Directory.SocketOf("disk"), 1);
        using var first = ControlClient.TryConnect(_files.Registry.Directory, "disk");
        using var second = ControlClient.TryConnect(_files.Registry.Directory, "disk");
        var error = Assert.Throws<OutcomeException>(() => ControlClient.TryConnect(_files.Registry.Directory, "disk"));
        Assert.Contains("timed out", error.Why, StringComparison.Ordinal);
        _ = Unistd.Close(listener);
    }

    /// <summary>Detaches by force what listens and never answers.</summary>
    private Outcome Detach(bool isGuest)
    {
        var record = _files.Device("disk") with { DevicePath = null, Uri = "nbd://localhost", Pid = _server.Id, IsGuest = isGuest };
        using var claim = _files.Alive(record);
        var listener = UnixSocket.Serve(_files.Registry.Directory.SocketOf("disk"), 4);
        var result = DetachCommand.Run(_files.Registry, _files.Registry.Find("disk")!, s_byForce);
        _ = Unistd.Close(listener);
        return result;
    }

    [Fact]
    public void Program_that_has_more_to_do_than_the_device_is_not_killed()
    {
        var refused = Detach(isGuest: true);
        Assert.Equal(OutcomeKind.Failed, refused.Kind);
        Assert.Contains($"another program (process {_server.Id})", refused.Why, StringComparison.Ordinal);
        Assert.False(_server.HasExited);
    }

    [Fact]
    public void Server_that_has_a_process_of_its_own_is_killed()
    {
        // Its claim is ours and stays: so it is told that it does not end.
        Assert.False(Detach(isGuest: false).Succeeded);
        Assert.True(_server.WaitForExit(5000));
    }
}
