using System.Collections.Generic;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices;

/// <summary>Which way the disk is offered, by what the options ask for and the kernel has.</summary>
public static class ExportChoice
{
    /// <exception cref="DeviceException">the address cannot be had</exception>
    /// <exception cref="ExportRefusedException">the kernel device cannot be made</exception>
    public static IExport Open(AttachOptions options, IReadOnlyList<EventLoop> loops, ServedDisk served, IExportCatalog catalog, ILog log) =>
        options.IsBlockDevice
            ? throw new ExportRefusedException(ExportRefusal.Unavailable, "kernel block devices (ublk, nbd) are not in this version",
                "give --socket PATH or --listen HOST:PORT")
            : new NbdSocketExport(options, loops, served, catalog, log);
}
