using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>Whether /dev/nbdN devices can be made here, and if not, what is missing.</summary>
/// <param name="Refusal">what kind of thing is missing; meaningless if nothing is</param>
/// <param name="Why">what is missing; null if nothing is</param>
/// <param name="Hint">what to do about it, if that is known</param>
/// <param name="HasNetlink">whether the driver has its netlink interface; else there are only the ioctls</param>
internal sealed record KernelNbdAvailability(ExportRefusal Refusal, string? Why, string? Hint, bool HasNetlink)
{
    /// <summary>"off" leaves the netlink interface alone, as on a kernel that has none.</summary>
    public const string NetlinkVariable = "QCOW2BLK_NBD_NETLINK";

    private const int CAP_SYS_ADMIN = 21;
    private static readonly TimeSpan s_probeTimeout = TimeSpan.FromSeconds(60);

    public bool IsAvailable => Why is null;

    /// <summary>Looks, and loads the kernel module if it is not there.</summary>
    public static KernelNbdAvailability Probe()
    {
        if (!HasCapability(CAP_SYS_ADMIN))
        {
            return Missing(ExportRefusal.Denied, "kernel NBD devices need CAP_SYS_ADMIN",
                "run as root, or serve NBD with --socket or --listen");
        }

        if (!IsLoaded() && KernelModule.Load("nbd") is { } why && !IsLoadedByKernel())
        {
            return Missing(ExportRefusal.Unavailable, $"the kernel has no NBD driver: {why}",
                "modprobe nbd, or serve NBD with --socket or --listen");
        }

        if (Environment.GetEnvironmentVariable(NetlinkVariable) == "off")
            return new KernelNbdAvailability(default, null, null, HasNetlink: false);

        // Whatever the driver is doing for others holds all of generic netlink up: never wait for that for ever.
        var error = TimedCall.Run("qcow2blk-probe", TryNetlink, s_probeTimeout);
        return error == -Errno.ETIMEDOUT
            ? Missing(ExportRefusal.Failed, "the kernel's generic netlink does not answer", "another device may hang: see dmesg")
            : new KernelNbdAvailability(default, null, null, HasNetlink: error == 0);
    }

    private static KernelNbdAvailability Missing(ExportRefusal refusal, string why, string hint) => new(refusal, why, hint, false);

    private static int TryNetlink()
    {
        var error = NbdNetlink.Open(out var netlink);
        netlink?.Dispose();
        return error;
    }

    /// <summary>
    /// Who may not load modules, such as a unit of systemd with ProtectKernelModules, can still ask for the driver's netlink family:
    /// then the kernel loads it by itself.
    /// </summary>
    private static bool IsLoadedByKernel()
    {
        _ = TimedCall.Run("qcow2blk-probe", TryNetlink, s_probeTimeout);
        return IsLoaded();
    }

    private static bool IsLoaded() => Directory.Exists("/sys/module/nbd") || Directory.Exists("/sys/block/nbd0");

    private static bool HasCapability(int capability)
    {
        try
        {
            foreach (var line in File.ReadLines("/proc/self/status"))
            {
                const string effective = "CapEff:";
                if (line.StartsWith(effective, StringComparison.Ordinal))
                {
                    return ulong.TryParse(line.AsSpan(effective.Length).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture,
                        out var set)
                        && (set >> capability & 1) != 0;
                }
            }
        }
        catch (IOException)
        {
            // No proc: the kernel will tell.
        }

        return true;
    }
}
