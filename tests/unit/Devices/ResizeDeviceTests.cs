using System;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Shared;
using Xunit;
using QemuImg = Qcow2Blk.Tests.Support.QemuImg;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A disk gets another size while it is attached, or the device goes on as it was.</summary>
public sealed class ResizeDeviceTests : IDisposable
{
    private const long Before = 16 << 20;

    private readonly EngineScene _scene = new();
    private readonly FakeExport _export = new();
    private EngineDevice? _device;

    public void Dispose()
    {
        _device?.Detach(force: true, EngineScene.Patience);
        _device?.Dispose();
        _scene.Dispose();
    }

    [Fact]
    public void A_device_goes_on_with_its_new_size()
    {
        _device = _scene.Open(_export);
        Assert.Equal(0, _scene.Write(0, 65536, 1));
        var grown = Resize("+1M");
        Assert.True(grown.Succeeded, grown.Why);
        Assert.Equal($"the disk has {Before + (1 << 20)} bytes now (was {Before})", grown.Note);
        Assert.Equal(DeviceState.Running, _device.State);
        Assert.False(_export.Held, "requests wait");
        Assert.Equal(Before + (1 << 20), _scene.Served.Size);
        Assert.True(_scene.Holds(0, 65536, 1));
        Assert.True(_scene.Holds(Before, 1 << 20, 0));
        Assert.Equal(0, _scene.Write(Before, 1 << 20, 2));
        var shrunk = Resize("1M", "shrink");
        Assert.True(shrunk.Succeeded, shrunk.Why);
        Assert.Equal(1 << 20, _scene.Served.Size);
        Assert.Equal(-22, _scene.Write(1 << 20, 512, 3));
        Assert.True(_scene.Holds(0, 65536, 1));
        Assert.True(_device.Detach(force: true, EngineScene.Patience).Succeeded);
        Assert.True(Qemu.Check(_scene.Image, out var report) == Verdict.Clean, report);
        Assert.Equal(1 << 20, QemuImg.Info(_scene.Image).GetProperty("virtual-size").GetInt64());
    }

    [Theory]
    [InlineData("1M", "use --shrink if that is meant")]
    [InlineData("3E", "clusters of 65536 bytes reach")]
    [InlineData("512", "a block device needs at least one block of 4096 bytes", "shrink")]
    [InlineData("-1G", "there is none of the size", "shrink")]
    public void What_is_refused_makes_nobody_wait(string size, string why, params string[] flags)
    {
        _device = _scene.Open(_export, _scene.Options with { BlockSize = 4096 });
        var refused = Resize(size, flags);
        Assert.False(refused.Succeeded);
        Assert.Contains(why, $"{refused.Why} {refused.Hint}", StringComparison.Ordinal);
        Assert.Equal(TimeSpan.Zero, _export.LastPause);
        Assert.Equal((DeviceState.Running, Before), (_device.State, _scene.Served.Size));
    }

    [Fact]
    public void A_device_that_is_open_becomes_smaller_only_by_force()
    {
        _export.User = "mounted on /mnt";
        _device = _scene.Open(_export);
        var refused = Resize("1M", "shrink");
        Assert.Equal((OutcomeKind.Busy, "use --force if that is meant"), (refused.Kind, refused.Hint));
        Assert.Equal(Before, _scene.Served.Size);
        Assert.True(Resize("+1M").Succeeded);
        Assert.True(Resize("1M", "shrink", "force").Succeeded);
        Assert.Equal(1 << 20, _scene.Served.Size);
    }

    [Fact]
    public void The_size_that_it_has_makes_nobody_wait()
    {
        _device = _scene.Open(_export);
        var outcome = Resize("16M");
        Assert.True(outcome.Succeeded, outcome.Why);
        Assert.Equal(TimeSpan.Zero, _export.LastPause);
    }

    [Fact]
    public void Bitmaps_follow_and_record_on_and_one_that_is_exported_refuses()
    {
        Qemu.Img("bitmap", "--add", _scene.Image, "b");
        _device = _scene.Open(_export);
        Assert.Equal(0, _scene.Write(1 << 20, 65536, 1));
        Assert.True(Resize("64M") is { Succeeded: true });
        Assert.Equal(0, _scene.Write(32 << 20, 65536, 1));
        Assert.True(_device.Detach(force: true, EngineScene.Patience).Succeeded);
        Assert.Equal([(1 << 20, 65536), (32 << 20, 65536)], QemuBitmap.Dirty(_scene.Image, "b"));
        _device.Dispose();
        _device = _scene.Open(new FakeExport(), _scene.Options with { Bitmaps = ["b"] });
        var refused = Resize("128M");
        Assert.Equal((OutcomeKind.Busy, "bitmap \"b\" is exported"), (refused.Kind, refused.Why));
    }

    [Fact]
    public void A_raw_disk_is_resized_too()
    {
        Qemu.Img("create", "-q", "-f", "raw", _scene.Image, "16M");
        _device = _scene.Open(_export, _scene.Options with { Format = ImageFormat.Raw });
        Assert.Equal(0, _scene.Write(0, 65536, 1));
        Assert.True(Resize("20M").Succeeded);
        Assert.Equal(20 << 20, _scene.Served.Size);
        Assert.True(_scene.Holds(0, 65536, 1));
        Assert.True(Resize("8M", "shrink").Succeeded);
        Assert.Equal(8 << 20, new System.IO.FileInfo(_scene.Image).Length);
        Assert.Equal("use --shrink if that is meant", Resize("4M").Hint);
    }

    private Outcome Resize(string size, params string[] flags)
    {
        var arguments = flags.ToDictionary(flag => flag, _ => "true");
        arguments["size"] = size;
        return _device!.EditAsync(new ImageEdit("resize", arguments), EngineScene.Patience, CancellationToken.None).GetAwaiter().GetResult();
    }
}
