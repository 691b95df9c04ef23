using System;
using System.IO;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Shared;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Devices.Takeover;

/// <summary>A device whose server is dead is given up. Its disk is one that no kernel has, so there is nothing to take away.</summary>
public sealed class DeadDeviceTests : IDisposable
{
    private readonly StateFiles _files = new();

    public void Dispose() => _files.Dispose();

    private DeviceRecord Device(string name = "web") => _files.Device(name) with { DevicePath = "/dev/nbd1048575" };

    private Outcome Detach(DeviceEntry entry, bool force = false) =>
        DeadDevice.Detach(_files.Registry, entry, force, EngineScene.Patience);

    private string[] Left() => Directory.GetFileSystemEntries(_files.Registry.Directory.Path);

    private DeviceEntry Killed() => KilledDevice.Leave(_files, Device());

    [Fact]
    public void Device_without_a_disk_is_forgotten_with_its_socket()
    {
        var entry = _files.Dead(Device());
        File.WriteAllText(_files.Registry.Directory.SocketOf("web"), "");
        Assert.Equal(Outcome.Done("its server was dead; cleaned up after it"), Detach(entry));
        Assert.Empty(Left());
    }

    [Fact]
    public void Device_that_its_supervisor_recovers_is_busy()
    {
        var pid = Sleep();
        var refused = Detach(_files.Dead(Device() with { Supervisor = ProcessIdentity.Of(pid) }));
        Assert.Equal((OutcomeKind.Busy, "its server died and is being started again"), (refused.Kind, refused.Why));
        Assert.NotNull(_files.Registry.Find("web"));
        Assert.Equal(0, ProcessIdentity.Of(pid)!.Value.Kill(EngineScene.Patience));
        _ = Spawn.Wait(pid);
    }

    [Fact]
    public void Device_that_is_being_attached_again_is_busy()
    {
        var dead = _files.Dead(Device());
        File.Delete(_files.Registry.Directory.StateFileOf("web"));
        using var claim = _files.Alive(Device());
        var refused = Detach(dead);
        Assert.Equal((OutcomeKind.Busy, "it is being attached again"), (refused.Kind, refused.Why));
    }

    [Fact]
    public void What_the_dead_server_had_answered_is_brought_into_the_image()
    {
        var entry = Killed();
        Assert.Equal(Outcome.Done("its server was dead; cleaned up after it"), Detach(entry));
        Qemu.Io(entry.Record.Image, "read -P 5 0 64k");
        Assert.Equal(Verdict.Clean, Qemu.Check(entry.Record.Image, out _));
        Assert.Empty(Left());
    }

    [Fact]
    public void Image_that_cannot_take_its_last_writes_keeps_the_device_unless_forced()
    {
        var entry = Killed();
        File.Move(entry.Record.Image, $"{entry.Record.Image}.away");
        var refused = Detach(entry);
        Assert.Equal(OutcomeKind.Failed, refused.Kind);
        Assert.StartsWith($"its last writes could not be written to {entry.Record.Image}: cannot open", refused.Why,
            StringComparison.Ordinal);
        Assert.True(RecoveryLog.HasRecords(_files.Registry.Directory.LogOf("web")), "the last writes are gone");
        var forced = Detach(entry, force: true);
        Assert.StartsWith("its server was dead; cleaned up after it; its last writes are lost: cannot open", forced.Note,
            StringComparison.Ordinal);
        Assert.Empty(Left());
    }

    [Fact]
    public void Image_that_was_edited_since_keeps_the_device_unless_forced()
    {
        var entry = Killed();
        Qemu.Io(entry.Record.Image, "write -P 9 1M 64k");
        var image = File.ReadAllBytes(entry.Record.Image);
        var refused = Detach(entry);
        Assert.Contains("another program opened the image for writing", refused.Why, StringComparison.Ordinal);
        Assert.Equal(image, File.ReadAllBytes(entry.Record.Image));
        Assert.True(RecoveryLog.HasRecords(_files.Registry.Directory.LogOf("web")), "the last writes are gone");
        Assert.Contains("its last writes are lost", Detach(entry, force: true).Note, StringComparison.Ordinal);
        Assert.Equal(image, File.ReadAllBytes(entry.Record.Image));
        Assert.Empty(Left());
    }

    [Fact]
    public void Log_without_records_needs_no_image()
    {
        var entry = _files.Dead(Device());
        File.WriteAllText(_files.Registry.Directory.LogOf("web"), "");
        File.Delete(entry.Record.Image);
        Assert.True(Detach(entry).Succeeded);
        Assert.Empty(Left());
    }

    [Fact]
    public void Forced_detach_ends_the_supervisor_that_would_start_another_server()
    {
        var pid = Sleep();
        Assert.True(Detach(_files.Dead(Device() with { Supervisor = ProcessIdentity.Of(pid) }), force: true).Succeeded);
        Assert.Equal(128 + SIGKILL, Spawn.Wait(pid));
        Assert.Empty(Left());
    }

    [Fact]
    public void Kill_of_a_living_device_ends_its_supervisor_and_its_server()
    {
        var supervisor = Sleep();
        var server = Sleep();
        var record = Device() with { Pid = server, Supervisor = ProcessIdentity.Of(supervisor) };
        using var claim = _files.Alive(record);
        Assert.False(DeadDevice.Kill(_files.Registry, "web"), "its lock is held, whoever holds it");
        Assert.Equal((128 + SIGKILL, 128 + SIGKILL), (Spawn.Wait(supervisor), Spawn.Wait(server)));
    }

    [Fact]
    public void Kill_of_a_dead_device_leaves_the_process_alone_that_has_the_number_of_its_server_now()
    {
        var stranger = Sleep();
        _files.Dead(Device() with { Pid = stranger });
        Assert.True(DeadDevice.Kill(_files.Registry, "web"));
        Assert.NotNull(ProcessIdentity.Of(stranger));
        Assert.Equal(0, ProcessIdentity.Of(stranger)!.Value.Kill(EngineScene.Patience));
        _ = Spawn.Wait(stranger);
    }

    [Fact]
    public void Kill_of_a_device_that_is_unknown_has_nothing_to_do() => Assert.True(DeadDevice.Kill(_files.Registry, "web"));

    private static int Sleep() => Spawn.Start(new Spawn.Child
    {
        Path = "/bin/sh",
        Arguments = ["sh", "-c", "exec sleep 20"],
        Environment = ["PATH=/usr/bin:/bin"],
        Descriptors = [0, 1, 2],
    });
}
