using System;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Embedding.Devices;
using Qcow2Blk.Tests.Cli;
using Qcow2Blk.Tests.Devices;
using Xunit;

namespace Qcow2Blk.Tests.Embedding.Devices;

/// <summary>A handle outlives the servers of its device: it tells that one is gone, and who follows.</summary>
public sealed class LostServerTests : IDisposable
{
    private const string Node = "/dev/ublkb1048570";

    private readonly EmbeddedScene _scene = new();
    private readonly EventList _events = new();

    public void Dispose() => _scene.Dispose();

    private FakeDevice Device() => new("disk", _scene.Image) { DevicePath = Node };

    private EmbeddedDevice Watch()
    {
        var found = EmbeddedDevice.Find("disk", _scene.Place);
        found.SetEvents(_events.Add);
        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Running);
        return found;
    }

    [Fact]
    public void Block_device_that_is_handed_over_has_no_server_for_a_while_and_then_another()
    {
        var first = _scene.Serve(Device());
        var device = Watch();
        Assert.True(_scene.Ask(ControlVerb.HandOver).Succeeded);
        first.Dispose();
        _events.WaitFor(DeviceEventKind.Server, EmbeddedState.Running, 0);
        Assert.Equal(OutcomeKind.Busy, device.Suspend(TimeSpan.Zero).Kind);

        using (_scene.Serve(Device(), recovers: Node))
        {
            _events.WaitFor(DeviceEventKind.Server, EmbeddedState.Running, Environment.ProcessId);
            Assert.True(SpinUntil(() => _events.States.Count() == 2));
            Assert.Equal(EmbeddedState.Running, device.State());
            Assert.Equal(
                [DeviceEventKind.State, DeviceEventKind.Server, DeviceEventKind.Server, DeviceEventKind.State],
                _events.All.Select(what => what.Kind));
        }

        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Ended);
        device.Close();
    }

    [Fact]
    public void Block_device_that_is_detached_while_it_has_no_server_has_ended()
    {
        var first = _scene.Serve(Device());
        var device = Watch();
        Assert.True(_scene.Ask(ControlVerb.HandOver).Succeeded);
        first.Dispose();
        _events.WaitFor(DeviceEventKind.Server, EmbeddedState.Running, 0);

        Assert.True(_scene.Registry.RemoveDead("disk"));

        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Ended);
        Assert.Equal(EmbeddedState.Ended, device.State());
        device.Close();
    }

    [Fact]
    public void Nbd_server_that_dies_is_told_and_that_the_device_has_ended_with_it()
    {
        var (status, _, errors) = Command.RunIn(_scene.Registry.Directory.Path, "attach", _scene.Image, "--socket", _scene.File("s"));
        Assert.True(status == 0, errors);
        var device = Watch();
        var server = ProcessIdentity.Of(_scene.Registry.Find("disk")!.Record.Pid)!.Value;

        Assert.Equal(0, server.Kill(EmbeddedScene.Patience));

        _events.WaitFor(DeviceEventKind.Server, EmbeddedState.Running, 0);
        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Ended);
        Assert.Equal(EmbeddedState.Ended, device.State());
        Assert.Equal(3, _events.All.Count);
        device.Close();
    }

    [Fact]
    public void Handler_of_a_device_without_a_server_can_be_taken_back()
    {
        var first = _scene.Serve(Device());
        var device = Watch();
        Assert.True(_scene.Ask(ControlVerb.HandOver).Succeeded);
        first.Dispose();
        _events.WaitFor(DeviceEventKind.Server, EmbeddedState.Running, 0);
        Assert.True(device.SetEvents(null));
        var told = _events.All.Count;
        using (_scene.Serve(Device(), recovers: Node))
            Assert.Equal(told, _events.All.Count);
        device.Close();
    }

    private static bool SpinUntil(Func<bool> condition) => System.Threading.SpinWait.SpinUntil(condition, EmbeddedScene.Patience);
}
