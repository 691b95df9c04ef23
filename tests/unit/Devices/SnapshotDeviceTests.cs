using System;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Snapshots of an attached image, and of one that is not, with the same result.</summary>
public sealed class SnapshotDeviceTests : IDisposable
{
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
    public void Snapshots_of_an_attached_image_are_what_qemu_finds()
    {
        _device = _scene.Open(_export);
        Assert.Equal(0, _scene.Write(0, 65536, 1));
        Assert.True(Edit("create", "one").Succeeded);
        Assert.Equal(0, _scene.Write(0, 65536, 2));
        Assert.True(Edit("create", "two").Succeeded);
        Assert.Equal(0, _scene.Write(0, 65536, 3));
        Assert.Contains("\"name\":\"two\"", Edit("list").Json, StringComparison.Ordinal);
        Assert.True(Edit("delete", "two").Succeeded);
        Assert.True(_scene.Holds(0, 65536, 3));

        var refused = Edit("revert", "one");
        Assert.Equal("use --force if that is meant", refused.Hint);
        Assert.True(_scene.Holds(0, 65536, 3));
        var reverted = Edit("revert", "one", ("force", "true"));
        Assert.True(reverted.Succeeded, reverted.Why);
        Assert.Equal(DeviceState.Running, _device.State);
        Assert.True(_scene.Holds(0, 65536, 1));
        Assert.Equal(0, _scene.Write(0, 4096, 4));
        Assert.True(_device.Detach(force: true, EngineScene.Patience).Succeeded);
        Assert.True(Qemu.Check(_scene.Image, out var report) == Verdict.Clean, report);
        Assert.Equal("one", QemuImg.Info(_scene.Image).GetProperty("snapshots").EnumerateArray().Single().GetProperty("name").GetString());
    }

    [Fact]
    public void A_revert_that_is_refused_leaves_the_device_running()
    {
        _device = _scene.Open(_export);
        Assert.Equal(0, _scene.Write(0, 65536, 1));
        var outcome = Edit("revert", "none", ("force", "true"));
        Assert.Equal((OutcomeKind.NotFound, "there is no snapshot with ID or name \"none\""), (outcome.Kind, outcome.Why));
        Assert.Equal(DeviceState.Running, _device.State);
        Assert.True(_scene.Holds(0, 65536, 1));
    }

    [Fact]
    public void An_image_that_is_not_attached_is_opened_for_it()
    {
        Qemu.Io(_scene.Image, "write -P 7 0 1M");
        Offline("create", "one");
        Qemu.Io(_scene.Image, "write -P 8 0 1M");
        Offline("revert", "1");
        Qemu.Io(_scene.Image, "read -P 7 0 1M");
        Offline("delete", "one");
        Assert.True(Qemu.Check(_scene.Image, out var report) == Verdict.Clean, report);
    }

    private Outcome Edit(string action, string? name = null, params (string, string)[] more) =>
        _device!.EditAsync(EditOf(action, name, more), EngineScene.Patience, CancellationToken.None).GetAwaiter().GetResult();

    private void Offline(string action, string name)
    {
        var outcome = UnattachedImage.Edit(new AttachOptions { Image = _scene.Image }, EditOf(action, name, []), new ListLog());
        Assert.True(outcome.Succeeded, outcome.Why);
    }

    private static ImageEdit EditOf(string action, string? name, (string Name, string Value)[] more)
    {
        var arguments = more.ToDictionary(argument => argument.Name, argument => argument.Value);
        if (name is not null)
            arguments["name"] = name;
        return new ImageEdit($"snapshot-{action}", arguments);
    }
}
