using System;
using System.Globalization;
using System.IO;
using System.Runtime.InteropServices;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>An image whose file refuses the last step of closing: it may grow, but cannot be cut to what it needs (a sealed
/// memfd).</summary>
public sealed partial class FailingCloseTests : IDisposable
{
    private const uint MFD_ALLOW_SEALING = 2;
    private const int F_ADD_SEALS = 1033, F_SEAL_SHRINK = 2;

    private readonly int _file;
    private readonly EngineScene _scene;
    private readonly FakeExport _export = new();
    private readonly EngineDevice _device;

    public FailingCloseTests()
    {
        using var directory = new TempDirectory();
        var empty = directory.File("empty.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", empty, "16M");
        _file = Errno.Of(CreateMemory("qcow2blk-test", MFD_ALLOW_SEALING));
        Assert.True(_file >= 0, Errno.Text(_file));
        var path =
            $"/proc/{Environment.ProcessId.ToString(CultureInfo.InvariantCulture)}/fd/{_file.ToString(CultureInfo.InvariantCulture)}";
        File.WriteAllBytes(path, File.ReadAllBytes(empty));
        Assert.Equal(0, Fcntl.Control(_file, F_ADD_SEALS, F_SEAL_SHRINK));
        _scene = new EngineScene(path);
        _device = _scene.Open(_export);
        Assert.Equal(0, _scene.Write(0, 65536, 5));
    }

    public void Dispose()
    {
        _device.Detach(force: true, EngineScene.Patience);
        _device.Dispose();
        _export.Dispose();
        _scene.Dispose();
        _ = Unistd.Close(_file);
    }

    [Fact]
    public void Hand_over_says_so_goes_on_and_fails_the_next_flush_once()
    {
        var letGo = false;
        var other = _scene.NewClient();
        _export.OnHandOver = () =>
        {
            letGo = true;
            return 0;
        };
        var refused = _device.HandOver(EngineScene.Patience, ending: false);
        Assert.Equal(Outcome.Refused(OutcomeKind.Failed, "cannot hand disk over", Errno.Text(-Errno.EPERM)), refused);
        Assert.False(letGo, "the block device was let go");
        Assert.Equal(DeviceState.Running, _device.State);
        Assert.False(_export.Held, "requests wait");
        Assert.True(_scene.Holds(0, 65536, 5));
        Assert.Equal(0, _scene.Write(65536, 65536, 6));
        Assert.Equal((-Errno.EIO, 0), (_scene.LostFlush, _scene.LostFlush));
        Assert.Equal((-Errno.EIO, 0), (other.TakeLoss(), other.TakeLoss()));
    }

    [Fact]
    public void Suspend_says_so_and_is_suspended_all_the_same()
    {
        var other = _scene.NewClient();
        var refused = _device.Suspend(EngineScene.Patience);
        Assert.Equal(
            (OutcomeKind.Failed, "suspended disk, but its image was not closed cleanly", $"closing failed: {Errno.Text(-Errno.EPERM)}"),
            (refused.Kind, refused.What, refused.Why));
        Assert.Equal((DeviceState.Suspended, true, false), (_device.State, _export.Held, File.Exists(_scene.RecoveryLog)));
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));
        Assert.True(_scene.Holds(0, 65536, 5));
        Assert.Equal((-Errno.EIO, 0), (_scene.LostFlush, _scene.LostFlush));
        Assert.Equal((-Errno.EIO, 0), (other.TakeLoss(), other.TakeLoss()));
    }

    [Fact]
    public void Hand_over_waits_until_the_device_was_told_of_what_was_lost()
    {
        _device.Suspend(EngineScene.Patience);
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));
        Assert.Equal(0, _scene.NewClient().TakeLoss());

        var refused = _device.HandOver(EngineScene.Patience, ending: false);

        Assert.Equal((OutcomeKind.Failed, "writes were lost, and no flush has reported it yet"), (refused.Kind, refused.Why));
        Assert.Equal(DeviceState.Running, _device.State);
        Assert.False(_export.Held, "requests wait");
        Assert.Equal(-Errno.EIO, _scene.LostFlush);
        Assert.True(_device.HandOver(EngineScene.Patience, ending: false).Succeeded);
    }

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int CreateMemory(string name, uint flags);
}
