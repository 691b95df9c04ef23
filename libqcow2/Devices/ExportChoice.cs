using System;
using System.Collections.Generic;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Exports.NbdSocket;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Image;
using Qcow2Blk.Logging;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices;

/// <summary>Which way the disk is offered, by what the options ask for and the kernel has.</summary>
internal static class ExportChoice
{
    /// <param name="options">how it is asked for</param>
    /// <param name="loops">what serves it</param>
    /// <param name="served">the disk</param>
    /// <param name="catalog">what NBD clients may ask for</param>
    /// <param name="isRecoverable">whether another server can follow a dead one</param>
    /// <param name="stop">stops a ublk device for which none can</param>
    /// <param name="log">for what happens later</param>
    /// <exception cref="OutcomeException">the address cannot be had</exception>
    /// <exception cref="ExportRefusedException">the kernel device cannot be made</exception>
    public static IExport Open(
        AttachOptions options, IReadOnlyList<EventLoop> loops, ServedDisk served, IExportCatalog catalog, bool isRecoverable,
        StopUblkDevice stop, ILog log)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(served);
        ArgumentNullException.ThrowIfNull(log);
        if (!options.IsBlockDevice)
            return new NbdSocketExport(SocketOptions(options), loops, served, catalog, log);

        // Before one is chosen: what no block device can show is not said once for each kind.
        var size = BlockDeviceSize.Require(served.Size, options.BlockSize);
        if (size.Warning is { } warning)
            log.Warning(warning);
        if (!options.EffectiveReadOnly && size.Advice(served.Disk.File.OffsetAlignment) is { } advice)
            log.Info(advice);
        return new BlockDeviceChoice
        {
            UblkRefusal = () => UblkControl.Availability().Refusal,
            OpenUblk = () => UblkExport.Open(
                UblkOptions(options, served.Disk) with { IsRecoverable = isRecoverable, StopElsewhere = stop },
                loops, served, log.Warning),
            NbdRefusal = NbdRefusal,
            OpenNbd = () => KernelNbdExport.Open(KernelOptions(options), loops, served, catalog, log),
        }.Open(options, log);
    }

    private static ExportRefusedException? NbdRefusal()
    {
        var availability = KernelNbdAvailability.Probe();
        return availability.IsAvailable ? null : new ExportRefusedException(availability.Refusal, availability.Why!, availability.Hint);
    }

    /// <summary>How many loops the device needs: what is asked for, or what a device that is taken over has.</summary>
    public static int Queues(AttachOptions options, int otherwise)
    {
        ArgumentNullException.ThrowIfNull(options);
        return options.RecoverDevice is { } device && UblkExport.TryParse(device, out var id)
            ? UblkExport.QueuesOf(id)
            : options.Queues ?? otherwise;
    }

    private static NbdSocketOptions SocketOptions(AttachOptions options) => new()
    {
        UnixPath = options.SocketPath,
        Host = options.ListenHost,
        Port = options.ListenPort,
        Descriptor = options.ListenFd,
    };

    /// <summary>What an attach asks for, as the kernel's NBD client knows it.</summary>
    internal static KernelNbdOptions KernelOptions(AttachOptions options) => new()
    {
        Image = options.Image,
        Device = options.Device,
        RecoverDevice = options.RecoverDevice,
        BlockSize = options.BlockSize,
        Timeout = options.EffectiveNbdTimeout,
        DeadTimeout = options.DeadTimeout,
        Inherited = InheritedDescriptors.Of(options),
    };

    private static UblkExportOptions UblkOptions(AttachOptions options, IDisk disk)
    {
        int? id = (options.RecoverDevice ?? options.Device) is { } node
            ? UblkExport.TryParse(node, out var number) ? number
            : throw new ExportRefusedException(ExportRefusal.Failed, $"{node} is not a ublk device", "ublk devices are named /dev/ublkbN")
            : null;
        return new UblkExportOptions
        {
            Id = id,
            Recover = options.RecoverDevice is not null,
            Depth = options.Depth,
            BlockSize = options.BlockSize,
            Mode = options.UblkMode,
            ReadOnly = options.EffectiveReadOnly,
            Discards = options.Discard == DiscardMode.Unmap,
            ClusterSize = (int)disk.ClusterBytes,
            MemoryAlignment = disk.File.MemoryAlignment,
            IsMemory = disk.File.IsMemory,
            NullIo = options.NullIo,
        };
    }
}
