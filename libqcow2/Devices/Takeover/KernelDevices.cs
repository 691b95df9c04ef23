using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Takeover;

/// <summary>A ublk device of this host that no state file names.</summary>
/// <param name="Node">/dev/ublkbN</param>
/// <param name="State">dead, live, quiesced, fail-io or unknown</param>
/// <param name="Pid">who serves or served it; 0 if unknown</param>
/// <param name="ServerAlive">whether there is such a process</param>
/// <param name="IsOurs">whether a qcow2blk made it</param>
internal sealed record OrphanDevice(KernelNode Node, string State, int Pid, bool ServerAlive, bool IsOurs);

/// <summary>The kernel's block devices where no server of theirs can be asked. Nothing here waits longer than it was given.</summary>
internal static class KernelDevices
{
    /// <summary>Who uses the disk or a partition of it: "mounted on /mnt".</summary>
    /// <returns>null if nobody is found</returns>
    /// <remarks>Not by an exclusive open: the kernel may answer that by reading partitions, and nobody serves.</remarks>
    public static string? FindUser(KernelNode node) => new BlockDeviceUsers().Find(node.Name, tryExclusive: false);

    /// <summary>Takes a device away whose server is gone; what waits for it fails.</summary>
    /// <param name="node">which</param>
    /// <param name="identifier">as of <see cref="KernelNbdDevice.IdentifierOf"/>; only the kernel's NBD keeps them</param>
    /// <param name="timeout">how long each step may take</param>
    /// <exception cref="ExportRefusedException">it cannot be reached</exception>
    /// <returns>0 or a negative errno; -ETIMEDOUT if the kernel did not end it in time (it may still)</returns>
    public static int Remove(KernelNode node, string identifier, TimeSpan timeout)
    {
        if (node.Transport == DeviceTransport.Nbd)
            return KernelNbdExport.Remove(node.Path, identifier, timeout);
        using var control = UblkControl.Open();
        var stopped = control.StopDevice(node.Index, timeout);
        if (stopped < 0 && stopped != -Errno.ENODEV)
            return stopped;
        // Not waited for: the last opener of the disk may take its time to notice.
        var deleted = control.DeleteDevice(node.Index, async: true, timeout);
        if (deleted == -Errno.EOPNOTSUPP)
            deleted = control.DeleteDevice(node.Index, async: false, timeout);
        return deleted == -Errno.ENODEV ? 0 : deleted;
    }

    /// <summary>Waits until the kernel has taken the disk away.</summary>
    /// <returns>false after the time</returns>
    public static bool WaitForEnd(KernelNode node, TimeSpan timeout)
    {
        var deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        while (node.Exists)
        {
            if (Environment.TickCount64 >= deadline)
                return false;
            Thread.Sleep(10);
        }

        return true;
    }

    /// <summary>The ublk devices that no device of the registry has.</summary>
    /// <exception cref="OutcomeException">ublk cannot be asked</exception>
    public static IReadOnlyList<OrphanDevice> Orphans(DeviceRegistry registry)
    {
        ArgumentNullException.ThrowIfNull(registry);
        var devices = AskUblk("cannot list ublk devices", UblkDevices.List);
        // Asked after the devices: one that was attached meanwhile is known by now.
        HashSet<string?> known = [.. registry.List().Select(entry => entry.Record.DevicePath)];
        return [.. devices.Select(Describe).Where(orphan => !known.Contains(orphan.Node.Path))];
    }

    /// <summary>The user who made an unprivileged ublk device.</summary>
    /// <returns>null if root made it, or it is not there</returns>
    /// <exception cref="OutcomeException">ublk cannot be asked</exception>
    public static (uint User, uint Group)? OwnerOf(int ublkDevice)
    {
        return AskUblk<(uint, uint)?>("cannot look for the owner of a ublk device", control =>
        {
            var unprivileged = control.GetDeviceInfo(ublkDevice, out var info) == 0
                && (info.flags & Interop.Ublk.UBLK_F_UNPRIVILEGED_DEV) != 0;
            return unprivileged ? (info.owner_uid, info.owner_gid) : null;
        });
    }

    private static T AskUblk<T>(string what, Func<UblkControl, T> question)
    {
        try
        {
            using var control = UblkControl.Open();
            return question(control);
        }
        catch (ExportRefusedException error)
        {
            throw Refusals.From(error, what);
        }
    }

    private static OrphanDevice Describe(UblkDevice device)
    {
        var pid = device.Error == 0 ? device.Info.ublksrv_pid : 0;
        return new OrphanDevice(new KernelNode(DeviceTransport.Ublk, device.Number), device.State, pid,
            pid > 0 && ProcessIdentity.Of(pid) is not null, device.IsOurs);
    }
}
