using System;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>What ends a device does not wait for its limits, and what did not end it has not changed them.</summary>
public sealed class LiftedLimitTests : IDisposable
{
    private readonly EngineScene _scene = new();
    private readonly FakeExport _export = new();
    private readonly EngineDevice _device;
    private bool? _wasOn;

    public LiftedLimitTests()
    {
        _device = _scene.Open(_export, _scene.Options with { Limits = new LimitRates { Requests = 5 } });
        Assert.True(_scene.Served.Limits.IsOn);
    }

    public void Dispose()
    {
        _export.OnStop = () => 0;
        _export.User = null;
        _device.Detach(force: true, EngineScene.Patience);
        _device.Dispose();
        _export.Dispose();
        _scene.Dispose();
    }

    [Fact]
    public void Limits_are_lifted_while_the_device_is_detached()
    {
        _export.OnStop = () => Look(0);
        Assert.Equal(Outcome.Done(), _device.Detach(force: false, EngineScene.Patience));
        Assert.False(_wasOn);
    }

    [Fact]
    public void Limits_hold_again_when_it_could_not_be_detached()
    {
        _export.OnStop = () => Look(-Errno.EIO);
        Assert.False(_device.Detach(force: false, EngineScene.Patience).Succeeded);
        Assert.False(_wasOn);
        Assert.True(_scene.Served.Limits.IsOn);
    }

    [Fact]
    public void Limits_are_lifted_while_the_device_is_handed_over()
    {
        _export.OnHandOver = () => Look(0);
        Assert.Equal(Outcome.Done(), _device.HandOver(EngineScene.Patience, ending: false));
        Assert.False(_wasOn);
    }

    [Fact]
    public void Limits_hold_again_when_it_could_not_be_handed_over()
    {
        _export.OnHandOver = () => Look(-Errno.EIO);
        Assert.False(_device.HandOver(EngineScene.Patience, ending: false).Succeeded);
        Assert.False(_wasOn);
        Assert.True(_scene.Served.Limits.IsOn);
    }

    private int Look(int result)
    {
        _wasOn = _scene.Served.Limits.IsOn;
        return result;
    }
}
