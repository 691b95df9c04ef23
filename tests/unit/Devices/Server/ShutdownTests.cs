using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>A block device in use when the machine goes down; the service manager is the test.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class ShutdownTests : IDisposable
{
    private static readonly Outcome s_inUse = Outcome.Refused(OutcomeKind.Busy, "cannot detach disk", "it is mounted on /mnt");

    private readonly TempDirectory _folder = new();
    private readonly DeviceRegistry _registry;
    private readonly ListLog _log = new();

    private readonly FakeDevice _device = new("disk", "/data/disk.qcow2")
    {
        DevicePath = "/dev/ublkb99999",
        User = "mounted on /mnt",
        RefuseDetach = s_inUse,
    };

    public ShutdownTests() => _registry = new DeviceRegistry(RuntimeDirectory.At(_folder.File("run")));

    public void Dispose() => _folder.Dispose();

    private DeviceServer Start() => DeviceServer.Start(
        new AttachOptions { Image = "/data/disk.qcow2", SocketPath = "/run/x.sock" }, new FakeFactory((_, _) => _device), _registry, _log);

    [Fact]
    public void Device_in_use_is_served_until_its_user_has_gone()
    {
        using var server = Start();
        var looks = 0;
        server.MachineStops = () => true;
        server.OthersStop = () =>
        {
            if (++looks == 2)
                (_device.User, _device.RefuseDetach) = (null, null);
            Assert.Equal(DeviceState.Running, _device.State);
            return true;
        };
        Assert.True(server.Finish().Succeeded);
        Assert.Equal(2, looks);
        Assert.False(server.HandedOver);
        Assert.DoesNotContain(_log.Lines, line => line.Contains("is still", StringComparison.Ordinal));
    }

    [Fact]
    public void Device_that_nobody_is_left_to_unmount_is_taken_away()
    {
        using var server = Start();
        server.MachineStops = () => true;
        server.OthersStop = () => false;
        Assert.True(server.Finish().Succeeded);
        Assert.False(server.HandedOver);
        Assert.Contains(_log.Lines, line => line.Contains("/dev/ublkb99999 is still mounted on /mnt", StringComparison.Ordinal));
    }

    [Fact]
    public void At_any_other_time_it_is_left_to_the_next_server()
    {
        using var server = Start();
        server.MachineStops = () => false;
        server.OthersStop = () => throw new InvalidOperationException("nobody is to be asked");
        Assert.Equal(OutcomeKind.Busy, server.Finish().Kind);
        Assert.True(server.HandedOver);
    }

    [Theory]
    [InlineData("12 run-user.mount stop running\n13 umount.target stop waiting", true)]
    [InlineData("12 qcow2blk@other.service stop running\n13 session-1.scope stop running", false)]
    [InlineData("12 poweroff.target start waiting\n13 a.service start running\n14 b.mount stop waiting", false)]
    [InlineData("No jobs running.", false)]
    public void Others_are_units_whose_stop_is_running(string jobs, bool expected) =>
        Assert.Equal(expected, ServiceManager.HasOtherStop(jobs, "session-1.scope"));

    [Theory]
    [InlineData("0::/system.slice/system-qcow2blk.slice/qcow2blk@disk.service\n", "qcow2blk@disk.service")]
    [InlineData("4:memory:/user.slice\n1:name=systemd:/user.slice/user-0.slice/session-3.scope\n", "session-3.scope")]
    [InlineData("0::/\n", "")]
    public void Own_unit_is_the_end_of_the_control_group(string cgroups, string expected) =>
        Assert.Equal(expected, ServiceManager.UnitOf(cgroups));

    [Fact]
    public void Service_manager_that_is_missing_or_silent_says_nothing()
    {
        Assert.Null(ServiceManager.Ask(_folder.File("nothing")));
        Assert.Null(ServiceManager.Ask("/bin/true"));
        Assert.Equal("is-system-running", ServiceManager.Ask("/bin/echo", "is-system-running"));
        var long_ = string.Concat(Enumerable.Repeat("0123456789", 1000));
        Assert.Equal(long_, ServiceManager.Ask("/bin/echo", long_));
    }

    [Fact]
    public void Guard_recovers_each_device_that_nobody_serves_and_no_other()
    {
        using var files = new StateFiles();
        files.Dead(files.Device("lost"));
        files.Dead(files.Device("suspended") with { Suspended = true });
        files.Dead(files.Device("recovering") with { Supervisor = ProcessIdentity.Self });
        files.NodeExists = node => node.Index == 5;
        files.Dead(files.Device("gone") with { DevicePath = "/dev/ublkb6" });
        using var alive = files.Alive(files.Device("alive"));
        var recovered = new List<string>();
        ShutdownGuard.Guard(files.Registry, record => recovered.Add(record.Name), () => false, _log);
        Assert.Equal(["lost", "suspended"], recovered.Distinct().Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Guard_ends_with_the_last_device() => ShutdownGuard.Guard(_registry,
        _ => throw new InvalidOperationException("there is no device"), () => throw new InvalidOperationException("nobody waits"), _log);
}
