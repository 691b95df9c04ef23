using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;
using static Qcow2Blk.Interop.Ublk;

namespace Qcow2Blk.Devices.Diagnosis;

/// <summary>Looks at what qcow2blk needs of a machine, and says what to do about what is missing.</summary>
internal sealed class Doctor(Machine machine)
{
    private const string Kernel = "kernel", Variable = "container=";

    private static readonly (ulong Bit, string Name)[] s_features =
    [
        (UBLK_F_USER_RECOVERY, "recovery"), (UBLK_F_USER_COPY, "user copy"), (UBLK_F_SUPPORT_ZERO_COPY, "zero copy"),
        (UBLK_F_AUTO_BUF_REG, "automatic buffers"), (UBLK_F_UPDATE_SIZE, "size changes"), (UBLK_F_UNPRIVILEGED_DEV, "unprivileged devices"),
    ];

    /// <summary>Everything that was looked at, in the order in which it is best read.</summary>
    public IReadOnlyList<Finding> Examine()
    {
        var ublk = machine.Ublk();
        var nbd = machine.KernelNbd();
        return
        [
            Release(ublk), .. Container(), IoUring(), .. OfUblk(ublk, nbd), .. OfKernelNbd(ublk, nbd),
            .. new RightsAndTools(machine).Examine(),
        ];
    }

    private Finding Release(UblkAvailability ublk)
    {
        var release = machine.Read("/proc/sys/kernel/osrelease").Trim();
        return ublk.Warnings is [var warning, ..]
            ? new Finding(Kernel, Verdict.Warning, "release", warning) : new Finding(Kernel, Verdict.Ok, "release", $"Linux {release}");
    }

    private IEnumerable<Finding> Container()
    {
        var kind = machine.Read("/run/systemd/container").Trim();
        if (kind.Length == 0)
        {
            kind = machine.Has("/.dockerenv") ? "docker" : machine.Has("/run/.containerenv") ? "podman"
                : machine.Read("/proc/1/environ").Split('\0')
                    .FirstOrDefault(entry => entry.StartsWith(Variable, StringComparison.Ordinal))?[Variable.Length..] ?? "";
        }

        if (kind.Length > 0)
        {
            yield return new Finding(Kernel, Verdict.Warning, "container", $"this is a container ({kind}): it shares the host's kernel",
                "load ublk_drv or nbd on the host, and give the container /dev/ublk-control, /dev/ublk* or /dev/nbd*");
        }
    }

    private Finding IoUring()
    {
        var error = machine.IoUring();
        if (error == 0)
            return new Finding(Kernel, Verdict.Ok, "io_uring", "available");
        var disabled = machine.Read("/proc/sys/kernel/io_uring_disabled").Trim();
        var why = disabled is "1" or "2" ? $"the sysctl kernel.io_uring_disabled is {disabled}" : Errno.Text(error);
        return new Finding(Kernel, Verdict.Warning, "io_uring", $"not available ({why}): slower, and without ublk",
            disabled is "1" or "2" ? "sysctl kernel.io_uring_disabled=0" : "allow it in the container's seccomp profile");
    }

    private static IEnumerable<Finding> OfUblk(UblkAvailability ublk, KernelNbdAvailability nbd)
    {
        if (ublk.Refusal is { } refusal)
        {
            yield return new Finding(Kernel, Missing(refusal.Refusal, nbd.IsAvailable), "ublk", refusal.Message, refusal.Hint);
            yield break;
        }

        var features = s_features.Where(feature => ublk.Has(feature.Bit)).Select(feature => feature.Name);
        yield return new Finding(Kernel, Verdict.Ok, "ublk", $"available ({string.Join(", ", features)})");
        if (ublk.IsUnprivileged)
        {
            yield return new Finding(Kernel, Verdict.Warning, "ublk rights",
                "only devices of an unprivileged user: no recovery, and copies instead of zero copy", "run as root");
        }
        else if (!ublk.Has(UBLK_F_USER_RECOVERY))
        {
            yield return new Finding(Kernel, Verdict.Warning, "ublk recovery", "not possible: a device ends with its server",
                "use a newer kernel, or --transport nbd");
        }
    }

    private IEnumerable<Finding> OfKernelNbd(UblkAvailability ublk, KernelNbdAvailability nbd)
    {
        if (nbd.Why is { } why)
        {
            yield return new Finding(Kernel, Missing(nbd.Refusal, ublk.IsAvailable), "kernel nbd", why, nbd.Hint);
            yield break;
        }

        var most = machine.Read("/sys/module/nbd/parameters/nbds_max").Trim();
        yield return nbd.HasNetlink
            ? new Finding(Kernel, Verdict.Ok, "kernel nbd",
                $"available{(most.Length > 0 ? $" (nbds_max {most}; more are made as needed)" : "")}")
            : new Finding(Kernel, Verdict.Warning, "kernel nbd", "without netlink: one connection for each device, and no recovery",
                "use ublk, or a kernel with netlink in its nbd driver");
    }

    /// <summary>One of the two kinds of block device is enough, and NBD needs neither nor any rights.</summary>
    private static Verdict Missing(ExportRefusal refusal, bool otherIsAvailable) =>
        otherIsAvailable || refusal == ExportRefusal.Denied ? Verdict.Warning : Verdict.Problem;
}
