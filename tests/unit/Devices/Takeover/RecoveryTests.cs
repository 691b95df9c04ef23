using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Logging;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Takeover;

/// <summary>Which dead devices can be taken over, and with what.</summary>
public sealed class RecoveryTests : IDisposable
{
    private readonly StateFiles _files = new();

    public void Dispose() => _files.Dispose();

    private OutcomeException Refused(string target) =>
        Assert.Throws<OutcomeException>(() => Recovery.One(_files.Registry, target));

    [Fact]
    public void Options_are_those_of_the_dead_server_for_its_device_and_in_the_background()
    {
        var dead = _files.Device("web");
        var had = dead.Options with
        {
            Depth = 7,
            LogLevel = LogLevel.Debug,
            PidFile = "/p",
            Foreground = true,
            RunCommand = "true"
        };
        var options = Recovery.OptionsFor(dead with { Options = had });
        Assert.Equal(had with { Name = "web", RecoverDevice = "/dev/ublkb5", Foreground = false, RunCommand = null }, options);
    }

    [Fact]
    public void All_are_those_whose_disk_is_there_without_a_server()
    {
        _files.NodeExists = node => node.Index == 5;
        _files.Dead(_files.Device("b"));
        _files.Dead(_files.Device("a"));
        _files.Dead(_files.Device("gone") with { DevicePath = "/dev/ublkb6" });
        _files.Dead(_files.Device("server") with { DevicePath = null });
        using var alive = _files.Alive(_files.Device("alive"));
        Assert.Equal(["a", "b"], Recovery.All(_files.Registry).Select(record => record.Name));
    }

    [Fact]
    public void All_leaves_out_what_was_suspended_and_what_a_supervisor_recovers()
    {
        _files.Dead(_files.Device("suspended") with { Suspended = true });
        _files.Dead(_files.Device("recovering") with { Supervisor = ProcessIdentity.Self });
        _files.Dead(_files.Device("given-up") with { Supervisor = ProcessIdentity.Self with { Start = 1 } });
        Assert.Equal(["given-up"], Recovery.All(_files.Registry).Select(record => record.Name));
    }

    [Fact]
    public void One_that_was_suspended_is_recovered_when_it_is_named()
    {
        _files.Dead(_files.Device("web") with { Suspended = true });
        Assert.Equal("web", Recovery.One(_files.Registry, "web").Name);
    }

    [Fact]
    public void One_is_found_by_name_disk_and_image()
    {
        var device = _files.Device("web");
        _files.Dead(device);
        foreach (var target in (string[])["web", "/dev/ublkb5", device.Image])
            Assert.Equal("web", Recovery.One(_files.Registry, target).Name);
        Assert.Equal(OutcomeKind.NotFound, Refused("other").Kind);
    }

    [Fact]
    public void One_whose_server_lives_is_busy_and_told_of_upgrade()
    {
        using var claim = _files.Alive(_files.Device("web"));
        var refusal = Refused("web");
        Assert.Equal((OutcomeKind.Busy, "its server is running (process 4711)"), (refusal.Kind, refusal.Why));
        Assert.Contains("qcow2blk upgrade web", refusal.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public void One_whose_server_lives_without_a_disk_is_not_told_of_upgrade()
    {
        using var claim = _files.Alive(_files.Device("web") with { DevicePath = null });
        var refusal = Refused("web");
        Assert.Equal((OutcomeKind.Busy, null), (refusal.Kind, refusal.Hint));
    }

    [Fact]
    public void One_that_its_supervisor_recovers_is_busy()
    {
        _files.Dead(_files.Device("web") with { Supervisor = ProcessIdentity.Self });
        var refusal = Refused("web");
        Assert.Equal((OutcomeKind.Busy, $"its supervisor is already doing that (process {Environment.ProcessId})"),
            (refusal.Kind, refusal.Why));
    }

    [Fact]
    public void One_that_was_no_block_device_is_refused()
    {
        _files.Dead(_files.Device("web") with { DevicePath = null, Uri = "nbd+unix:///?socket=/s" });
        Assert.Equal((OutcomeKind.Failed, "it was not a block device"), (Refused("web").Kind, Refused("web").Why));
    }

    [Fact]
    public void One_whose_disk_is_gone_is_refused_with_the_way_to_forget_it()
    {
        _files.NodeExists = _ => false;
        _files.Dead(_files.Device("web"));
        var refusal = Refused("web");
        Assert.Equal((OutcomeKind.Failed, "/dev/ublkb5 is gone"), (refusal.Kind, refusal.Why));
        Assert.Contains("qcow2blk detach web", refusal.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public void One_whose_image_is_gone_is_refused()
    {
        var device = _files.Device("web");
        _files.Dead(device);
        File.Delete(device.Image);
        Assert.Equal($"image {device.Image} no longer exists", Refused("web").Why);
    }

    [Fact]
    public void One_whose_image_is_another_file_now_is_refused()
    {
        var device = _files.Device("web");
        _files.Dead(device);
        PutAnotherInPlaceOf(device.Image);
        var refusal = Refused("web");
        Assert.Equal((OutcomeKind.Failed, $"{device.Image} is no longer the file that was attached"), (refusal.Kind, refusal.Why));
        Assert.Contains("qcow2blk detach --force web", refusal.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public void Image_that_was_written_renamed_and_linked_back_is_the_same_file()
    {
        var device = _files.Device("web");
        File.WriteAllText(device.Image, "more");
        File.Move(device.Image, $"{device.Image}.moved");
        File.CreateSymbolicLink(device.Image, $"{device.Image}.moved");
        Recovery.CheckImage(device, "cannot recover web");
    }

    [Fact]
    public void Image_of_a_server_that_noted_no_identity_is_only_looked_for()
    {
        var device = _files.Device("web") with { ImageIdentity = null };
        PutAnotherInPlaceOf(device.Image);
        Recovery.CheckImage(device, "cannot recover web");
        File.Delete(device.Image);
        Assert.Throws<OutcomeException>(() => Recovery.CheckImage(device, "cannot recover web"));
    }

    [Fact]
    public void Attach_of_an_image_finds_its_dead_device_by_any_path()
    {
        var device = _files.Device("web");
        _files.Dead(device);
        _files.Dead(_files.Device("other"));
        var link = $"{device.Image}.link";
        File.CreateSymbolicLink(link, device.Image);
        Assert.Equal("web", _files.Registry.FindLostOf(device.Image)?.Name);
        Assert.Equal("web", _files.Registry.FindLostOf(link, "web")?.Name);
        Assert.Null(_files.Registry.FindLostOf(device.Image, "other"));
        Assert.Null(_files.Registry.FindLostOf($"{device.Image}.none"));
    }

    [Fact]
    public void Attach_of_an_image_finds_no_device_that_lives_or_whose_disk_is_gone()
    {
        var device = _files.Device("web");
        using (_files.Alive(device))
            Assert.Null(_files.Registry.FindLostOf(device.Image));
        _files.Dead(device);
        _files.NodeExists = _ => false;
        Assert.Null(_files.Registry.FindLostOf(device.Image));
    }

    /// <summary>Both files are there for a moment, so that the other cannot get the number of the one.</summary>
    private static void PutAnotherInPlaceOf(string image)
    {
        File.WriteAllText($"{image}.new", "");
        File.Move($"{image}.new", image, overwrite: true);
    }
}
