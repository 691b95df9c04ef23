using System;
using System.IO;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>What cannot be replaced is refused before its server hears of it.</summary>
public sealed class UpgradeTests : IDisposable
{
    /// <summary>Whoever gets as far as starting this fails otherwise than by a refusal of ours.</summary>
    private static readonly ServerProgram s_program = new("/nonexistent", []);

    private readonly StateFiles _files = new();

    public void Dispose() => _files.Dispose();

    private OutcomeException Refused(DeviceEntry entry) =>
        Assert.Throws<OutcomeException>(() => Upgrade.Run(_files.Registry, entry, s_program, TimeSpan.FromSeconds(1)));

    private OutcomeException RefusedAlive(DeviceRecord record)
    {
        using var claim = _files.Alive(record);
        return Refused(_files.Registry.Find(record.Name)!);
    }

    [Fact]
    public void Nbd_server_keeps_its_clients()
    {
        var refusal = RefusedAlive(_files.Device("web") with { DevicePath = null, Uri = "nbd://localhost" });
        Assert.Equal((OutcomeKind.Failed, "cannot upgrade web"), (refusal.Kind, refusal.What));
        Assert.Contains("it is an NBD server", refusal.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Dead_server_is_a_matter_of_recovery()
    {
        var refusal = Refused(_files.Dead(_files.Device("web")));
        Assert.Equal((OutcomeKind.Failed, "its server is dead"), (refusal.Kind, refusal.Why));
        Assert.Contains("qcow2blk attach --recover web", refusal.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public void Server_that_is_being_started_again_is_busy()
    {
        var refusal = Refused(_files.Dead(_files.Device("web") with { Supervisor = ProcessIdentity.Self }));
        Assert.Equal((OutcomeKind.Busy, "its server died and is being started again"), (refusal.Kind, refusal.Why));
    }

    [Fact]
    public void Server_in_the_foreground_belongs_to_the_program_that_waits_for_it()
    {
        var device = _files.Device("web");
        foreach (var options in (AttachOptions[])[device.Options with { Foreground = true },
            device.Options with { RunCommand = "true" }])
        {
            var refusal = RefusedAlive(device with { Options = options });
            Assert.Equal((OutcomeKind.Failed, "its server is in the foreground of another program (process 4711)"),
                (refusal.Kind, refusal.Why));
        }
    }

    [Fact]
    public void Server_whose_image_is_another_file_by_now_goes_on()
    {
        var device = _files.Device("web");
        File.WriteAllText($"{device.Image}.new", "");
        File.Move($"{device.Image}.new", device.Image, overwrite: true);
        Assert.Contains("no longer the file", RefusedAlive(device).Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Server_whose_program_cannot_be_kept_goes_on() =>
        Assert.Contains("cannot keep its old program", RefusedAlive(_files.Device("web") with { Pid = int.MaxValue }).Why,
            StringComparison.Ordinal);

    [Fact]
    public void Server_that_is_still_starting_is_busy()
    {
        var refusal = RefusedAlive(_files.Device("web") with { Pid = Environment.ProcessId });
        Assert.Equal((OutcomeKind.Busy, "its server is still starting"), (refusal.Kind, refusal.Why));
    }
}
