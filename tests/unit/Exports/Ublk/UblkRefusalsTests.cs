using System;
using System.Linq;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;
using Xunit;
using static Qcow2Blk.Interop.Ublk;

namespace Qcow2Blk.Tests.Exports.Ublk;

/// <summary>What users are told when there is no ublk for them.</summary>
public sealed class UblkRefusalsTests
{
    private static readonly UblkHost s_root = new("6.12.107+deb13-amd64", IsRoot: true, IsAdministrator: true, UblkModule.Installed, 0);
    private static readonly UblkHost s_user = s_root with { IsRoot = false, IsAdministrator = false };

    [Fact]
    public void Missing_node_tells_what_is_missing()
    {
        Assert.Equal((ExportRefusal.Unavailable, "the kernel module ublk_drv is not loaded", "run \"modprobe ublk_drv\" as root"),
            Parts(UblkStep.OpenControl, -Errno.ENOENT, s_root));
        Assert.Equal((ExportRefusal.Unavailable, "this kernel (Linux 6.1.0-9-amd64) has no ublk driver",
                "boot a kernel with ublk_drv, Linux 6.8 or newer, or use --transport nbd"),
            Parts(UblkStep.OpenControl, -Errno.ENOENT, s_root with { Release = "6.1.0-9-amd64", Module = UblkModule.Absent }));
        Assert.Contains("a container must be given the node",
            Parts(UblkStep.OpenControl, -Errno.ENOENT, s_root with { Module = UblkModule.Unknown }).Hint, StringComparison.Ordinal);
        Assert.Contains("qcow2blk does not create device nodes",
            Parts(UblkStep.OpenControl, -Errno.ENOENT, s_root with { Module = UblkModule.Loaded }).Hint, StringComparison.Ordinal);
    }

    [Fact]
    public void Missing_rights_tell_which()
    {
        Assert.Equal((ExportRefusal.Denied, "no permission to open /dev/ublk-control: permission denied",
                "run as root, or install the udev rule for unprivileged ublk devices and join its group"),
            Parts(UblkStep.OpenControl, -Errno.EACCES, s_user));
        Assert.Equal((ExportRefusal.Denied, "the device cgroup forbids opening /dev/ublk-control",
                "let the container use the devices ublk-control, ublkc* and ublkb*"),
            Parts(UblkStep.OpenControl, -Errno.EPERM, s_root));
        Assert.Equal("the device cgroup forbids opening /dev/ublkc7",
            UblkRefusals.Of(UblkStep.OpenCharacter, -Errno.EPERM, 7, s_root).Message);
        Assert.Equal("a ublk device needs CAP_SYS_ADMIN", UblkRefusals.Of(UblkStep.AddDevice, -Errno.EPERM, -1, s_user).Message);
        Assert.StartsWith("this process is root without CAP_SYS_ADMIN",
            UblkRefusals.Of(UblkStep.AddDevice, -Errno.EPERM, -1, s_root with { IsAdministrator = false }).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Forbidden_io_uring_tells_by_whom()
    {
        Assert.Equal("ublk needs io_uring, and the sysctl kernel.io_uring_disabled is 2",
            Parts(UblkStep.MakeRing, -Errno.EPERM, s_root with { IoUringDisabled = 2 }).Why);
        Assert.Equal("ublk needs io_uring, and a seccomp filter or a security module forbids it",
            Parts(UblkStep.MakeRing, -Errno.EPERM, s_root).Why);
        Assert.Equal(ExportRefusal.Unavailable, Parts(UblkStep.MakeRing, -Errno.ENOSYS, s_root).Refusal);
    }

    [Fact]
    public void Device_in_use_is_busy()
    {
        foreach (var step in (UblkStep[])[UblkStep.OpenCharacter, UblkStep.StartRecovery])
            Assert.Equal(ExportRefusal.Busy, UblkRefusals.Of(step, -Errno.EBUSY, 0, s_root).Refusal);
        Assert.Equal("ublk device number 3 is taken", UblkRefusals.Of(UblkStep.AddDevice, -Errno.EEXIST, 3, s_root).Message);
    }

    [Fact]
    public void Silence_of_the_driver_names_the_kernel_that_is_known_for_it()
    {
        var refusal = UblkRefusals.Of(UblkStep.AddDevice, -Errno.ETIMEDOUT, -1, s_root with { Release = "6.18.4-arch1-1" });
        Assert.Equal("the kernel (Linux 6.18.4-arch1-1) did not answer ADD_DEV in time", refusal.Message);
        Assert.Contains("use 6.18.5 or newer", refusal.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_refusal_is_one_line_in_house_style()
    {
        int[] errors = [Errno.EPERM, Errno.ENOENT, Errno.ENXIO, Errno.EIO, Errno.EACCES, Errno.EBUSY, Errno.EEXIST, Errno.ENODEV,
            Errno.EINVAL,
            Errno.ENOSYS, Errno.EOPNOTSUPP, Errno.ETIMEDOUT];
        UblkHost[] hosts = [s_root, s_user, .. Enum.GetValues<UblkModule>().Select(module => s_root with { Module = module })];
        foreach (var step in Enum.GetValues<UblkStep>())
        {
            foreach (var error in errors)
            {
                foreach (var host in hosts)
                {
                    var refusal = UblkRefusals.Of(step, -error, 5, host);
                    Assert.Matches("^([a-z/]|[A-Z]{2})[^\n]*[^.\n ]$", refusal.Message);
                    Assert.Matches("^$|^[a-zL][^\n]*[^.\n ]$", refusal.Hint ?? "");
                }
            }
        }
    }

    [Fact]
    public void User_without_rights_gets_an_unprivileged_device_if_the_driver_has_them()
    {
        Assert.True(UblkAvailability.Of(UBLK_F_UNPRIVILEGED_DEV, s_user) is { IsAvailable: true, IsUnprivileged: true });
        Assert.True(UblkAvailability.Of(UBLK_F_UNPRIVILEGED_DEV, s_root) is { IsAvailable: true, IsUnprivileged: false });
        Assert.Equal(ExportRefusal.Denied, UblkAvailability.Of(UBLK_F_USER_COPY, s_user).Refusal?.Refusal);
    }

    [Fact]
    public void Availability_here_is_a_reason_or_features()
    {
        var found = UblkControl.Availability();
        Assert.True(found.IsAvailable ? found.Has(UBLK_F_CMD_IOCTL_ENCODE) : found.Refusal is { Message.Length: > 0 }
            && found.Features == 0);
        if (found.Refusal is { } refusal)
            Assert.Equal(refusal.Message, Assert.Throws<ExportRefusedException>(() => UblkControl.Open().Dispose()).Message);
    }

    [Theory]
    [InlineData("6.17.0-1005-aws", 1)]
    [InlineData("6.17.3", 0)]
    [InlineData("6.18.4-arch1-1", 1)]
    [InlineData("6.18.44", 0)]
    [InlineData("6.7.12", 1)]
    [InlineData("6.12.94+deb13-amd64", 0)]
    [InlineData("7.3.4+bpo-amd64", 0)]
    [InlineData("6.1.0-9-amd64", 1)]
    [InlineData("5.10.0", 1)]
    public void Known_bad_kernels_are_warned_of(string release, int warnings)
    {
        var found = UblkKernelWarnings.For(release);
        Assert.Equal(warnings, found.Count);
        Assert.All(found, warning => Assert.Contains(release, warning, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("6.12.94+deb13-amd64", true)]
    [InlineData("6.12.107", true)]
    [InlineData("6.13", false)]
    [InlineData("7.3.4", false)]
    public void Recovery_by_the_same_process_is_kept_off_old_kernels(string release, bool only) =>
        Assert.Equal(only, UblkKernelWarnings.RecoverOnlyFromNewProcess(release));

    [Theory]
    [InlineData("6.18.44-fc-v657", 6, 18, 44)]
    [InlineData("7.0-rc1", 7, 0, 0)]
    [InlineData("7", 7, 0, 0)]
    [InlineData("", 0, 0, 0)]
    public void Release_is_read_as_far_as_it_is_numbers(string release, int major, int minor, int patch) =>
        Assert.Equal((major, minor, patch), UblkKernelWarnings.Version(release));

    [Fact]
    public void Capability_is_a_bit_of_the_effective_set()
    {
        Assert.True(UblkHost.HasCapability("Name:\tx\nCapPrm:\t0\nCapEff:\t0000000000200000\nCapBnd:\t0\n", 21));
        Assert.False(UblkHost.HasCapability("CapEff:\t000001ffffdfffff\n", 21));
        Assert.False(UblkHost.HasCapability("", 21));
    }

    private static (ExportRefusal Refusal, string Why, string? Hint) Parts(UblkStep step, int error, UblkHost host)
    {
        var refusal = UblkRefusals.Of(step, error, -1, host);
        return (refusal.Refusal, refusal.Message, refusal.Hint);
    }
}
