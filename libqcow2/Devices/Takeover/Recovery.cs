using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Tmds.Linux;

namespace Qcow2Blk.Devices.Takeover;

/// <summary>Taking over the block device of a server that died, with the options that its state file keeps.</summary>
internal static class Recovery
{
    /// <summary>What a server must be started with to take the device over.</summary>
    public static AttachOptions OptionsFor(DeviceRecord dead)
    {
        ArgumentNullException.ThrowIfNull(dead);
        return AttachOptionTable.OfNextServer(dead.Options) with { Name = dead.Name, RecoverDevice = dead.DevicePath };
    }

    /// <summary>Every device that waits for a server, but for those that were suspended: they wait for a resume.</summary>
    public static IReadOnlyList<DeviceRecord> All(DeviceRegistry registry)
    {
        ArgumentNullException.ThrowIfNull(registry);
        return [.. registry.List().Where(entry => registry.IsLost(entry) && !entry.IsRecovering && !entry.Record.Suspended)
            .Select(entry => entry.Record)];
    }

    /// <summary>The device that is meant, if it waits for a server.</summary>
    /// <exception cref="OutcomeException">it does not, or cannot be taken over</exception>
    public static DeviceRecord One(DeviceRegistry registry, string target)
    {
        ArgumentNullException.ThrowIfNull(registry);
        var entry = registry.Resolve(target);
        var record = entry.Record;
        var what = $"cannot recover {record.Name}";
        if (entry.Alive)
        {
            throw new OutcomeException(OutcomeKind.Busy, what, $"its server is running (process {record.Pid})", record.DevicePath is null
                ? null : $"\"qcow2blk upgrade {record.Name}\" replaces a running server");
        }

        if (entry.IsRecovering)
        {
            throw new OutcomeException(OutcomeKind.Busy, what,
                $"its supervisor is already doing that (process {record.Supervisor!.Value.Pid})", "wait a moment");
        }

        if (KernelNode.TryParse(record.DevicePath) is not { } node)
        {
            throw new OutcomeException(OutcomeKind.Failed, what, "it was not a block device",
                "attach the image again; its clients then reconnect");
        }

        if (!registry.NodeExists(node))
        {
            throw new OutcomeException(OutcomeKind.Failed, what, $"{node.Path} is gone",
                $"\"qcow2blk detach {record.Name}\" cleans up after it, then attach the image again");
        }

        CheckImage(record, what);
        return record;
    }

    /// <summary>Another file of that name would be another disk under a mounted file system.</summary>
    /// <exception cref="OutcomeException">it is not the file that was attached</exception>
    public static void CheckImage(DeviceRecord record, string what)
    {
        ArgumentNullException.ThrowIfNull(record);
        var now = ImageIdentity(record.Image);
        if (now is null)
            throw new OutcomeException(OutcomeKind.Failed, what, $"image {record.Image} no longer exists", "put it back");
        if (record.ImageIdentity is { } then && then != now)
        {
            throw new OutcomeException(OutcomeKind.Failed, what, $"{record.Image} is no longer the file that was attached",
                $"put the image back, or \"qcow2blk detach --force {record.Name}\"");
        }
    }

    /// <summary>The <see cref="FileIdentity"/> of the file that a name leads to now.</summary>
    /// <returns>null if it does not exist</returns>
    public static string? ImageIdentity(string path) =>
        Stat.OfPath(path, out var stat) != 0 ? null
            : new FileIdentity(stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino).ToString();
}
