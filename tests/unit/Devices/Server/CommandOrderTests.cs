using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>A device whose requests do not end, and what can be said to it meanwhile over its control socket.</summary>
public sealed class CommandOrderTests : IDisposable
{
    private readonly TempDirectory _runtime = new();
    private readonly EngineScene _scene = new();
    private readonly FakeExport _export = new() { Stuck = true, DevicePath = null };
    private readonly RuntimeDirectory _directory;
    private readonly DeviceServer _server;

    public CommandOrderTests()
    {
        _directory = RuntimeDirectory.At(_runtime.File("run"));
        var options = new AttachOptions { Image = _scene.Image, SocketPath = "/run/x.sock", Name = "disk" };
        _server = DeviceServer.Start(options, new FakeFactory((_, _) => _scene.Open(_export)), new DeviceRegistry(_directory), new NoLog());
    }

    public void Dispose()
    {
        _export.Stuck = false;
        _server.Finish();
        _server.Dispose();
        _export.Dispose();
        _scene.Dispose();
        _runtime.Dispose();
    }

    private ControlReply Ask(ControlVerb verb, double seconds = 60, bool force = false)
    {
        using var client = ControlClient.TryConnect(_directory, "disk")!;
        return client.Ask(new ControlRequest(verb, TimeSpan.FromSeconds(seconds), force, AllowShrink: false));
    }

    /// <summary>A suspend that waits for requests until it is told to stop.</summary>
    private Task<ControlReply> Drain()
    {
        var suspend = Task.Run(() => Ask(ControlVerb.Suspend));
        Assert.True(SpinWait.SpinUntil(() => _export.Held, EngineScene.Patience));
        return suspend;
    }

    [Fact]
    public async Task Status_is_answered_while_a_suspend_drains()
    {
        var suspend = Drain();

        var status = Ask(ControlVerb.Status);

        Assert.Equal((true, "suspending"), (status.Result.Succeeded, status.State));
        Assert.False(status.Status.IsEmpty);
        Assert.False(suspend.IsCompleted);
        Ask(ControlVerb.Detach, 0.05, force: true);
        await suspend;
    }

    [Fact]
    public async Task Other_commands_wait_their_turn_and_no_longer_than_they_were_told()
    {
        var suspend = Drain();

        var refused = Ask(ControlVerb.Resume, 0.05).Result;

        Assert.Equal(Outcome.Refused(OutcomeKind.Failed, "cannot resume disk", "another command on it is still running"), refused);
        Ask(ControlVerb.Detach, 0.05, force: true);
        await suspend;
    }

    [Fact]
    public async Task Forced_detach_does_not_wait_behind_a_suspend_that_drains()
    {
        var suspend = Drain();

        // Less than the suspend has, and enough for nothing but its own wait for requests.
        var detached = Ask(ControlVerb.Detach, 0.05, force: true).Result;

        Assert.True(detached.Succeeded, detached.Why);
        Assert.Equal(Outcome.Refused(OutcomeKind.Failed, "cannot suspend disk", "it is already ending"), (await suspend).Result);
        _server.WaitForEnd();
    }
}
