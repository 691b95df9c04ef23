using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Cli;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Devices.Diagnosis;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;
using Xunit;
using static Qcow2Blk.Interop.Ublk;

namespace Qcow2Blk.Tests.Devices.Diagnosis;

/// <summary>Machines made of files: what is said of each, and what to do about it.</summary>
public sealed class DoctorTests : IDisposable
{
    private static readonly ExportRefusedException s_noUblk = new(ExportRefusal.Unavailable, "no ublk driver", "boot another kernel");
    private static readonly KernelNbdAvailability s_nbd = new(default, null, null, HasNetlink: true);
    private static readonly KernelNbdAvailability s_noNbd = new(ExportRefusal.Unavailable, "no NBD driver", "modprobe nbd", false);

    private readonly string _root = Directory.CreateTempSubdirectory("q2b-doctor-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private static UblkAvailability Ublk(ExportRefusedException? refusal = null, bool unprivileged = false) =>
        new(refusal is null ? UBLK_F_USER_RECOVERY | UBLK_F_USER_COPY : 0, unprivileged, [], refusal);

    private void Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_root + path)!);
        File.WriteAllText(_root + path, text);
    }

    /// <summary>Where everything is there, but for what a test takes away.</summary>
    private Machine Good()
    {
        Write("/proc/sys/kernel/osrelease", "6.12.1\n");
        Write("/proc/self/status", "CapEff:\t000001ffffffffff\n");
        Write("/proc/self/limits", "Max open files            524288               524288               files     \n"
            + "Max locked memory         unlimited            unlimited            bytes     \n");
        Write("/usr/bin/qemu-img", "");
        Write("/usr/sbin/modprobe", "");
        Write("/dev/ublk-control", "");
        return new Machine
        {
            Root = _root,
            IsRoot = true,
            SearchPath = "/usr/bin",
            Ublk = () => Ublk(),
            KernelNbd = () => s_nbd,
            IoUring = () => 0,
            Curl = () => ("libcurl 8.14.1", null),
            OpenNode = _ => 0,
            RuntimeDirectory = () => ("/run/qcow2blk", null),
        };
    }

    [Fact]
    public void Missing_libcurl_is_a_warning()
    {
        Assert.Equal("libcurl 8.14.1", Find(Good(), "libcurl").Found);
        var finding = Find(Good() with { Curl = () => (null, "cannot load libcurl.so.4") }, "libcurl");
        Assert.Equal(Verdict.Warning, finding.Verdict);
        Assert.StartsWith("cannot load libcurl.so.4", finding.Found, StringComparison.Ordinal);
    }

    private static Finding Find(Machine machine, string what) => new Doctor(machine).Examine().Single(finding => finding.What == what);

    [Fact]
    public void Good_machine_has_neither_problems_nor_warnings() =>
        Assert.DoesNotContain(new Doctor(Good()).Examine(), finding => finding.Verdict != Verdict.Ok || finding.Hint is not null);

    [Fact]
    public void One_kind_of_block_device_is_enough_and_none_is_a_problem()
    {
        Assert.Equal(Verdict.Warning, Find(Good() with { Ublk = () => Ublk(s_noUblk) }, "ublk").Verdict);
        Assert.Equal(Verdict.Warning, Find(Good() with { KernelNbd = () => s_noNbd }, "kernel nbd").Verdict);
        var none = Good() with { Ublk = () => Ublk(s_noUblk), KernelNbd = () => s_noNbd };
        Assert.Equal((Verdict.Problem, "no ublk driver", "boot another kernel"),
            (Find(none, "ublk").Verdict, Find(none, "ublk").Found, Find(none, "ublk").Hint));
        Assert.Equal(Verdict.Problem, Find(none, "kernel nbd").Verdict);
    }

    [Fact]
    public void Forbidden_io_uring_is_told_with_its_sysctl()
    {
        Write("/proc/sys/kernel/io_uring_disabled", "2\n");
        var finding = Find(Good() with { IoUring = () => -Errno.EPERM }, "io_uring");
        Assert.Equal((Verdict.Warning, "sysctl kernel.io_uring_disabled=0"), (finding.Verdict, finding.Hint));
        Assert.Contains("kernel.io_uring_disabled is 2", finding.Found, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/.dockerenv", "", "docker")]
    [InlineData("/run/systemd/container", "lxc\n", "lxc")]
    [InlineData("/proc/1/environ", "A=b\0container=oci\0", "oci")]
    public void Container_is_told(string file, string text, string kind)
    {
        Write(file, text);
        Assert.Contains($"({kind})", Find(Good(), "container").Found, StringComparison.Ordinal);
    }

    [Fact]
    public void Rights_and_limits_that_are_missing_are_told()
    {
        var machine = Good() with
        {
            IsRoot = false,
            OpenNode = _ => -Errno.EACCES,
            RuntimeDirectory = () => ("/run/x", new OutcomeException(OutcomeKind.Failed, "w", "others may write to it", "chmod")),
        };
        Write("/proc/self/status", "CapEff:\t0000000000000000\n");
        Write("/proc/self/limits", "Max open files            256                  4096                 files     \n"
            + "Max locked memory         65536                65536                bytes     \n");

        Assert.Contains("without CAP_SYS_ADMIN", Find(machine, "user").Found, StringComparison.Ordinal);
        Assert.Equal(Verdict.Warning, Find(machine, "/dev/ublk-control").Verdict);
        Assert.Equal((Verdict.Problem, "chmod"), (Find(machine, "runtime directory").Verdict, Find(machine, "runtime directory").Hint));
        Assert.StartsWith("256:", Find(machine, "open files").Found, StringComparison.Ordinal);
        Assert.StartsWith("64 KiB:", Find(machine, "locked memory").Found, StringComparison.Ordinal);
    }

    [Fact]
    public void Programs_and_files_that_are_missing_are_told_where_they_would_be_used()
    {
        var machine = Good();
        File.Delete(_root + "/usr/bin/qemu-img");
        Assert.DoesNotContain(new Doctor(machine).Examine(), finding => finding.What is "udev rule" or "systemd unit");
        Write("/run/udev/control", "");
        Write("/run/systemd/system/x", "");

        Assert.Equal(Verdict.Warning, Find(machine, "qemu-img").Verdict);
        Assert.Equal(Verdict.Warning, Find(machine, "udev rule").Verdict);
        Write("/usr/local/lib/systemd/system/qcow2blk@.service", "");
        Assert.Equal((Verdict.Ok, "/usr/local/lib/systemd/system/qcow2blk@.service"),
            (Find(machine, "systemd unit").Verdict, Find(machine, "systemd unit").Found));
    }

    [Fact]
    public void Text_has_a_line_for_each_finding_and_what_to_do_behind_an_arrow()
    {
        var findings = new Doctor(Good() with { Ublk = () => Ublk(s_noUblk), KernelNbd = () => s_noNbd }).Examine();

        var text = DoctorVerb.AsText(findings, new Style(hasColours: false));

        Assert.Matches(@"(?m)^  x  ublk +no ublk driver$\n^ +-> boot another kernel$", text);
        Assert.EndsWith("\n2 problems, 0 warnings\n", text, StringComparison.Ordinal);
        Assert.Contains("\e[31m2 problems, 0 warnings\e[0m", DoctorVerb.AsText(findings, new Style(hasColours: true)),
            StringComparison.Ordinal);
    }
}
