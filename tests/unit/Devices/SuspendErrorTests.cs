using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Exports;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>
/// Whatever goes wrong while a device is suspended or resumed is said, and leaves it in one of two states: it serves its open image,
/// or its image is closed and its requests wait.
/// </summary>
public sealed class SuspendErrorTests : IDisposable
{
    private static readonly TimeSpan s_short = TimeSpan.FromMilliseconds(50);

    private readonly Queue<FakeDisk> _next = new();
    private readonly FakeDisk _disk = new();
    private readonly FakeExport _export = new();
    private readonly EngineScene _scene;
    private readonly EngineDevice _device;

    public SuspendErrorTests()
    {
        _next.Enqueue(_disk);
        _scene = new EngineScene
        {
            OpenDisk = (_, _, _, _) => _next.TryDequeue(out var disk)
                ? new LoopTask<(IDisk, IReadOnlyList<ChainLink>)>((disk, []))
                : throw new IOException("the image is not there"),
        };
        _device = _scene.Open(_export);
        File.WriteAllText(_scene.RecoveryLog, "what was not committed");
    }

    public void Dispose()
    {
        _export.Stuck = false;
        _device.Detach(force: true, EngineScene.Patience);
        _device.Dispose();
        _export.Dispose();
        _scene.Dispose();
    }

    [Fact]
    public void Flush_that_fails_refuses_the_suspend_and_the_image_stays_open()
    {
        _disk.Answer = call => call == "flush" ? -Errno.ENOSPC : 0;

        var refused = _device.Suspend(EngineScene.Patience);

        Assert.Equal(Outcome.Refused(OutcomeKind.Failed, "cannot suspend disk", $"flush failed: {Errno.Text(-Errno.ENOSPC)}") with
        {
            Error = -Errno.ENOSPC,
        }, refused);
        Assert.Equal((DeviceState.Running, false), (_device.State, _export.Held));
        Assert.Equal(["flush"], _disk.Calls);
        Assert.True(File.Exists(_scene.RecoveryLog), "a server that dies now needs the log");
        Assert.Equal((0, 0), (_scene.LostFlush, _scene.Write(0, 512, 1)));

        _disk.Answer = _ => 0;
        Assert.Equal(Outcome.Done(), _device.Suspend(EngineScene.Patience));
        Assert.Equal((DeviceState.Suspended, true, false), (_device.State, _export.Held, File.Exists(_scene.RecoveryLog)));
        Assert.Equal("close", _disk.Calls[^1]);
    }

    [Fact]
    public void Disk_that_takes_no_more_writes_is_suspended_to_be_mended_and_the_next_flush_is_told()
    {
        const string reason = "sync of disk.qcow2 failed";
        _disk.WriteErrorReason = reason;
        _disk.Answer = call => call is "flush" or "close" ? -Errno.EIO : 0;
        Assert.Equal(DeviceState.Failed, _device.State);

        var refused = _device.Suspend(EngineScene.Patience);

        Assert.Equal((OutcomeKind.Failed, "suspended disk, but its image was not closed cleanly", reason),
            (refused.Kind, refused.What, refused.Why));
        Assert.Equal((DeviceState.Suspended, true, false), (_device.State, _export.Held, File.Exists(_scene.RecoveryLog)));
        Assert.Equal(["flush", "close"], _disk.Calls);
        _next.Enqueue(new FakeDisk());
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));
        Assert.Equal((DeviceState.Running, false), (_device.State, _export.Held));
        Assert.Equal((-Errno.EIO, 0), (_scene.LostFlush, _scene.LostFlush));
    }

    [Fact]
    public void Close_that_fails_is_said_and_the_next_flush_is_told()
    {
        _disk.Answer = call => call == "close" ? -Errno.EIO : 0;

        var refused = _device.Suspend(EngineScene.Patience);

        Assert.Equal((OutcomeKind.Failed, $"closing failed: {Errno.Text(-Errno.EIO)}"), (refused.Kind, refused.Why));
        Assert.Equal((DeviceState.Suspended, true, false), (_device.State, _export.Held, File.Exists(_scene.RecoveryLog)));
        Assert.Equal((-Errno.EIO, 0), (_scene.LostFlush, _scene.LostFlush));
    }

    [Fact]
    public void Clean_suspend_fails_no_flush()
    {
        Assert.Equal(Outcome.Done(), _device.Suspend(EngineScene.Patience));
        Assert.Equal(Outcome.Done("disk is already suspended"), _device.Suspend(EngineScene.Patience));
        _next.Enqueue(new FakeDisk());
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));
        Assert.Equal(0, _scene.LostFlush);
        Assert.Equal(["flush", "close"], _disk.Calls);
    }

    [Fact]
    public void Requests_that_do_not_end_in_time_go_on_and_nothing_is_closed()
    {
        _export.Stuck = true;

        var refused = _device.Suspend(s_short);

        Assert.Equal((OutcomeKind.Failed, "cannot suspend disk"), (refused.Kind, refused.What));
        Assert.Equal((DeviceState.Running, false), (_device.State, _export.Held));
        Assert.Empty(_disk.Calls);
        Assert.True(File.Exists(_scene.RecoveryLog));
    }

    [Fact]
    public void Image_that_cannot_be_opened_again_leaves_the_device_suspended()
    {
        Assert.True(_device.Suspend(EngineScene.Patience).Succeeded);

        var refused = _device.Resume(allowShrink: false, EngineScene.Patience);

        Assert.Equal((OutcomeKind.Failed, "cannot resume disk", "the image is not there"), (refused.Kind, refused.What, refused.Why));
        Assert.NotNull(refused.Hint);
        Assert.Equal((DeviceState.Suspended, true), (_device.State, _export.Held));
        _next.Enqueue(new FakeDisk());
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));
        Assert.Equal((DeviceState.Running, false), (_device.State, _export.Held));
    }

    [Fact]
    public void Disk_that_has_shrunk_is_closed_again_unless_that_is_meant()
    {
        Assert.True(_device.Suspend(EngineScene.Patience).Succeeded);
        var smaller = new FakeDisk { Size = 8 << 20 };
        _next.Enqueue(smaller);

        var refused = _device.Resume(allowShrink: false, EngineScene.Patience);

        Assert.Equal((OutcomeKind.Failed, "cannot resume disk"), (refused.Kind, refused.What));
        Assert.Equal(["close"], smaller.Calls);
        Assert.Equal((DeviceState.Suspended, true), (_device.State, _export.Held));
        _next.Enqueue(new FakeDisk { Size = 8 << 20 });
        Assert.True(_device.Resume(allowShrink: true, EngineScene.Patience).Succeeded);
        Assert.Equal((DeviceState.Running, false), (_device.State, _export.Held));
    }

    [Fact]
    public void Detach_without_force_keeps_a_disk_whose_last_flush_fails()
    {
        _disk.Answer = call => call == "flush" ? -Errno.ENOSPC : 0;

        var refused = _device.Detach(force: false, EngineScene.Patience);

        Assert.Equal((OutcomeKind.Failed, "cannot detach disk"), (refused.Kind, refused.What));
        Assert.Equal((DeviceState.Running, false, false), (_device.State, _export.Held, _export.Disposed));
        Assert.DoesNotContain("close", _disk.Calls);
    }

    [Fact]
    public void Detach_without_force_of_an_nbd_server_keeps_a_disk_whose_last_flush_fails()
    {
        var disk = new FakeDisk();
        _next.Enqueue(disk);
        using var export = new FakeExport { DevicePath = null };
        using var device = _scene.Open(export);
        disk.Answer = call => call == "flush" ? -Errno.ENOSPC : 0;

        var refused = device.Detach(force: false, EngineScene.Patience);

        Assert.Equal((OutcomeKind.Failed, "cannot detach disk"), (refused.Kind, refused.What));
        Assert.Equal((DeviceState.Running, false, false), (device.State, export.Held, export.Disposed));
        Assert.DoesNotContain("close", disk.Calls);
        disk.Answer = _ => 0;
        Assert.Equal(Outcome.Done(), device.Detach(force: false, EngineScene.Patience));
        Assert.Equal(("close", true), (disk.Calls[^1], export.Disposed));
    }
}
