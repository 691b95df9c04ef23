using System;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A block device that is taken from its users, whatever the kernel still wants to write.</summary>
public sealed class ForcedDetachTests : IDisposable
{
    private readonly EngineScene _scene = new();
    private readonly FakeExport _export = new();
    private readonly EngineDevice _device;

    public ForcedDetachTests() => _device = _scene.Open(_export);

    public void Dispose()
    {
        _device.Dispose();
        _export.Dispose();
        _scene.Dispose();
    }

    [Fact]
    public void Device_that_does_not_stop_in_time_stops_when_its_requests_are_refused()
    {
        // Else the process would end with its image as a crash leaves it.
        Assert.Equal(0, _scene.Write(0, 65536, 5));
        _export.OnStop = () => _export.Refusal == 0 ? -Errno.ETIMEDOUT : 0;

        var detached = _device.Detach(force: true, EngineScene.Patience);

        Assert.Equal(Outcome.Done("the kernel did not write out its cached data in time: it is lost"), detached);
        Assert.Equal((-Errno.EIO, true), (_export.Refusal, _export.Disposed));
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
        Qemu.Io(_scene.Image, "read -P 5 0 64k");
    }

    [Fact]
    public void Device_that_stops_in_time_serves_what_the_kernel_writes_until_then()
    {
        Assert.Equal(Outcome.Done(), _device.Detach(force: true, EngineScene.Patience));
        Assert.Equal(0, _export.Refusal);
    }

    [Fact]
    public void Device_that_never_stops_is_abandoned()
    {
        _export.OnStop = () => -Errno.ETIMEDOUT;
        Assert.Contains("requests were still in progress", _device.Detach(force: true, EngineScene.Patience).Note,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Refused_detach_refuses_no_requests()
    {
        _export.OnStop = () => -Errno.ETIMEDOUT;
        Assert.False(_device.Detach(force: false, EngineScene.Patience).Succeeded);
        Assert.Equal(0, _export.Refusal);
        _export.OnStop = () => 0;
        Assert.True(_device.Detach(force: false, EngineScene.Patience).Succeeded);
    }
}
