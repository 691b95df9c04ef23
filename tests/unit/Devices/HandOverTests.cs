using System;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A device is left to the next server whole, or goes on as it was.</summary>
public sealed class HandOverTests : IDisposable
{
    private static readonly TimeSpan s_short = TimeSpan.FromMilliseconds(50);

    private readonly EngineScene _scene = new() { SuspensionLimit = s_short };
    private readonly FakeExport _export = new();
    private readonly EngineDevice _device;

    public HandOverTests() => _device = _scene.Open(_export);

    public void Dispose()
    {
        _export.OnStop = () => 0;
        _export.Stuck = false;
        _device.Detach(force: true, EngineScene.Patience);
        _device.Dispose();
        _export.Dispose();
        _scene.Dispose();
    }

    private void AssertGoesOn()
    {
        Assert.Equal(DeviceState.Running, _device.State);
        Assert.False(_export.Held, "requests wait");
        Assert.Equal(0, _scene.Write(1 << 20, 65536, 7));
        Assert.True(_scene.Holds(1 << 20, 65536, 7));
    }

    [Fact]
    public void Handed_over_image_is_complete_unlocked_and_waits_with_its_requests()
    {
        Assert.Equal(0, _scene.Write(0, 65536, 5));
        Assert.Equal(Outcome.Done(), _device.HandOver(EngineScene.Patience, ending: false));
        Assert.True(_export.Held, "requests go on");
        Assert.False(_export.Disposed, "the block device has ended");
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
        Qemu.Io(_scene.Image, "read -P 5 0 64k");
        Assert.False(RecoveryLog.HasRecords(_scene.RecoveryLog));
    }

    [Fact]
    public void Next_server_opens_what_was_handed_over_while_the_one_before_is_still_there()
    {
        Assert.Equal(0, _scene.Write(0, 65536, 5));
        Assert.True(_device.HandOver(EngineScene.Patience, ending: false).Succeeded);
        using var export = new FakeExport();
        using var next = _scene.Recover(export);
        Assert.True(_scene.Holds(0, 65536, 5));
        Assert.Equal(0, _scene.Write(65536, 65536, 6));
        Assert.True(next.Detach(force: false, EngineScene.Patience).Succeeded);
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
        Qemu.Io(_scene.Image, "read -P 5 0 64k", "read -P 6 64k 64k");
    }

    [Fact]
    public void Image_is_closed_before_the_block_device_is_let_go()
    {
        Verdict? verdict = null;
        Assert.Equal(0, _scene.Write(0, 65536, 5));
        _export.OnHandOver = () =>
        {
            verdict = Qemu.Check(_scene.Image, out _);
            return 0;
        };
        Assert.True(_device.HandOver(EngineScene.Patience, ending: false).Succeeded);
        Assert.Equal(Verdict.Clean, verdict);
    }

    [Fact]
    public void Block_device_that_cannot_be_let_go_is_served_on()
    {
        Assert.Equal(0, _scene.Write(0, 65536, 5));
        _export.OnHandOver = () => -Errno.EOPNOTSUPP;
        var refused = _device.HandOver(EngineScene.Patience, ending: false);
        Assert.Equal(Outcome.Refused(OutcomeKind.Failed, "cannot hand disk over", Errno.Text(-Errno.EOPNOTSUPP)), refused);
        Assert.True(_scene.Holds(0, 65536, 5));
        AssertGoesOn();
        Assert.Equal(0, _scene.LostFlush);
    }

    [Fact]
    public void Requests_that_do_not_end_in_time_are_served_on()
    {
        _export.Stuck = true;
        var refused = _device.HandOver(s_short, ending: false);
        Assert.Equal((OutcomeKind.Failed, "requests did not end within 0.1 s"), (refused.Kind, refused.Why));
        AssertGoesOn();
    }

    [Fact]
    public void Suspended_device_is_not_handed_over()
    {
        Assert.True(_device.Suspend(EngineScene.Patience).Succeeded);
        var refused = _device.HandOver(EngineScene.Patience, ending: false);
        Assert.Equal((OutcomeKind.Busy, "it is suspended", DeviceState.Suspended), (refused.Kind, refused.Why, _device.State));
    }

    [Fact]
    public void Image_that_cannot_be_opened_again_leaves_the_device_suspended_until_it_is_mended()
    {
        var away = $"{_scene.Image}.away";
        Assert.Equal(0, _scene.Write(0, 65536, 5));
        _export.OnHandOver = () =>
        {
            File.Move(_scene.Image, away);
            return -Errno.EIO;
        };
        var refused = _device.HandOver(EngineScene.Patience, ending: false);
        Assert.Equal((OutcomeKind.Failed, DeviceState.Suspended), (refused.Kind, _device.State));
        Assert.StartsWith($"{Errno.Text(-Errno.EIO)}, and the image could not be opened again: cannot open {_scene.Image}", refused.Why,
            StringComparison.Ordinal);
        Assert.Contains("resume", refused.Hint, StringComparison.Ordinal);
        Assert.True(_export.Held, "requests go on without an image");
        Assert.True(
            SpinWait.SpinUntil(() => _scene.Log.Lines.Any(line => line.StartsWith("suspended for", StringComparison.Ordinal)),
                EngineScene.Patience), "no warning");
        File.Move(away, _scene.Image);
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));
        Assert.True(_scene.Holds(0, 65536, 5));
        AssertGoesOn();
    }

    [Fact]
    public void Refused_detach_of_a_suspended_device_leaves_it_running()
    {
        Assert.Equal(0, _scene.Write(0, 65536, 5));
        Assert.True(_device.Suspend(EngineScene.Patience).Succeeded);
        _export.OnStop = () => -Errno.EIO;
        Assert.Equal(OutcomeKind.Failed, _device.Detach(force: false, EngineScene.Patience).Kind);
        Assert.True(_scene.Holds(0, 65536, 5));
        AssertGoesOn();
    }

    [Fact]
    public void Nbd_server_has_nothing_to_hand_over()
    {
        using var scene = new EngineScene();
        using var export = new FakeExport { DevicePath = null };
        using var device = scene.Open(export);
        var refused = device.HandOver(EngineScene.Patience, ending: false);
        Assert.StartsWith("it is an NBD server", refused.Why, StringComparison.Ordinal);
        Assert.False(export.Held);
        Assert.True(device.Detach(force: false, EngineScene.Patience).Succeeded);
    }
}
