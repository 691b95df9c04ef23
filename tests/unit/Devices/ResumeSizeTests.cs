using System;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A disk that got another size while suspended comes back as what a block device can show of it.</summary>
public sealed class ResumeSizeTests : IDisposable
{
    private readonly EngineScene _scene = new();
    private readonly FakeExport _export = new();
    private readonly EngineDevice _device;

    public ResumeSizeTests() => _device = _scene.Open(_export, _scene.Options with { BlockSize = 4096 });

    public void Dispose()
    {
        _device.Detach(force: true, EngineScene.Patience);
        _device.Dispose();
        _scene.Dispose();
    }

    [Theory]
    [InlineData("0")]
    [InlineData("3584")]
    public void Disk_without_a_whole_block_is_refused_and_can_be_mended(string size)
    {
        Resize(size);

        var refused = _device.Resume(allowShrink: true, EngineScene.Patience);

        Assert.Equal($"the disk has {size} bytes: a block device needs at least one block of 4096 bytes", refused.Why);
        Assert.Equal(DeviceState.Suspended, _device.State);
        Assert.True(_export.Held, "requests go on");
        Qemu.Img("create", "-q", "-f", "qcow2", _scene.Image, "16M");
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));
    }

    [Fact]
    public void Tail_that_is_cut_off_is_said()
    {
        Resize("16779264");

        var resumed = _device.Resume(allowShrink: false, EngineScene.Patience);

        Assert.True(resumed.Succeeded);
        Assert.Contains("the disk has 16779264 bytes now (was 16777216)", resumed.Note);
        Assert.Contains("the last 2048 bytes of the disk are not a whole block of 4096", resumed.Note);
    }

    [Fact]
    public void Nbd_server_of_an_empty_disk_goes_on()
    {
        using var export = new FakeExport { DevicePath = null };
        using var server = _scene.Open(export, _scene.Options with { Image = Other(), SocketPath = "/none" });
        Assert.Equal(Outcome.Done(), server.Suspend(EngineScene.Patience));
        Qemu.Img("create", "-q", "-f", "qcow2", server.ImagePath, "0");
        Assert.True(server.Resume(allowShrink: true, EngineScene.Patience).Succeeded);
        server.Detach(force: true, EngineScene.Patience);
    }

    /// <summary>Another image in its place: qemu-img resizes none to nothing.</summary>
    private void Resize(string size)
    {
        Assert.Equal(Outcome.Done(), _device.Suspend(EngineScene.Patience));
        Qemu.Img("create", "-q", "-f", "qcow2", _scene.Image, size);
    }

    private string Other()
    {
        var path = _scene.Image + ".other";
        Qemu.Img("create", "-q", "-f", "qcow2", path, "1M");
        return path;
    }
}
