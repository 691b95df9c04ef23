using System;
using System.Collections.Generic;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices;

/// <summary>Makes the export of a device whose disk is open.</summary>
internal delegate IExport OpenExport(AttachOptions options, IReadOnlyList<EventLoop> loops, ServedDisk served, IExportCatalog catalog,
    ILog log);

/// <summary>Opens the image of a device with everything below it. On the home loop.</summary>
internal delegate LoopTask<(IDisk Disk, IReadOnlyList<ChainLink> Links)> OpenDisk(
    AttachOptions options, ILog log, RecoveryLogChoice recovery, TimeSpan? lockTimeout);

/// <summary>What a device takes from the machine around it; tests have others.</summary>
internal sealed record DeviceHost
{
    /// <param name="recoveryLog">where it is; null if no server can follow this one</param>
    /// <param name="stop">stops a ublk device for which no server can follow</param>
    public static DeviceHost This(string? recoveryLog, StopUblkDevice stop) => new()
    {
        OpenExport = (options, loops, served, catalog, log) =>
            ExportChoice.Open(options, loops, served, catalog, recoveryLog is not null, stop, log),
        RecoveryLog = recoveryLog,
    };

    public required OpenExport OpenExport { get; init; }

    public OpenDisk OpenDisk { get; init; } = ImageChain.OpenAsync;

    /// <summary>Where the recovery log of the device is; null: it has none.</summary>
    public required string? RecoveryLog { get; init; }

    /// <summary>Whether the process is another program's: a bug of ours must not end it.</summary>
    public bool IsGuest { get; init; }

    /// <summary>How long a block device may be suspended before that is worth a warning.</summary>
    public TimeSpan SuspensionLimit { get; init; } = SuspensionWatch.DefaultLimit;
}
