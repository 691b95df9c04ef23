using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Protocol;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>From options to a device.</summary>
internal sealed partial class KernelNbdExport
{
    // blk-mq takes a queue for each, and more than the processors are of no use.
    private const int MostConnections = 16;
    private static readonly TimeSpan s_scanTimeout = TimeSpan.FromSeconds(10);

    private KernelNbdExport(
        NbdServer server, NegotiatedSession session, KernelConnections connections, INbdAttachment attachment, NbdDeviceConfig config,
        bool readOnly, ILog log)
    {
        _server = server;
        _session = session;
        _connections = connections;
        _attachment = attachment;
        _config = config;
        _readOnly = readOnly;
        _log = log;
        if (attachment.CanReconnect)
            _watch = new ConnectionWatch(connections, attachment, session, log);
    }

    /// <summary>Makes a device, or takes one over whose server is gone.</summary>
    /// <param name="options">what the user asked for</param>
    /// <param name="loops">the device's loops, the home loop first; all started</param>
    /// <param name="served">the disk</param>
    /// <param name="catalog">what NBD clients would be told of it</param>
    /// <param name="log">told of what happens later</param>
    /// <exception cref="ExportRefusedException">the kernel does not make it</exception>
    public static KernelNbdExport Open(KernelNbdOptions options, IReadOnlyList<EventLoop> loops, ServedDisk served, IExportCatalog catalog,
        ILog log)
    {
        var available = KernelNbdAvailability.Probe();
        if (!available.IsAvailable)
            throw new ExportRefusedException(available.Refusal, available.Why!, available.Hint);
        var info = catalog.List()[0];
        var recovered = ToRecover(options, available);
        var kept = KeptConnection.Unpack([.. options.Inherited]);
        var connections = kept.Count > 0 ? Math.Max(kept.Count, recovered?.Connections ?? 0)
            : recovered?.Connections is > 0 and var count ? count : available.HasNetlink ? Math.Min(loops.Count, MostConnections) : 1;
        var config = ConfigFor(options, info, recovered ?? ToMake(options), connections, available.HasNetlink);
        var session = SessionFor(info, connections);
        var server = new NbdServer(loops, served, catalog, log.Info);
        return Attach(new KernelConnections(server, loops.Count, connections), server, session, config, recovered is not null,
            available.HasNetlink, kept, log);
    }

    private static KernelNbdExport Attach(
        KernelConnections connections, NbdServer server, NegotiatedSession session, NbdDeviceConfig config, bool recover, bool netlink,
        List<KeptConnection> kept, ILog log)
    {
        var error = connections.Open(session, out var kernelEnds, first: kept.Count);
        string? text = null;
        INbdAttachment? attachment = null;
        if (error == 0)
            error = Configure(config, kernelEnds, recover, netlink, out attachment, out text);
        if (error != -Errno.ETIMEDOUT)
            CloseAll(kernelEnds); // After a timeout the kernel may still be looking at them.
        if (error < 0)
        {
            connections.BeginEnd();
            if (connections.CloseAll(s_scanTimeout))
                connections.CloseWatches();
            foreach (var connection in kept)
                Files.Close(connection.Socket);
            throw Refusal(error, text, config, recover);
        }

        var export = new KernelNbdExport(server, session, connections, attachment!, config,
            (config.Flags & (ulong)TransmissionFlags.ReadOnly) != 0, log);
        // Last: from here on requests come, and nothing that follows can fail.
        if (connections.Adopt(session, kept) is var adopted and < 0)
            log.Warning($"{export.DevicePath}: cannot keep connections: {Errno.Text(adopted)}; giving the kernel new ones");
        export.Begin(recover);
        return export;
    }

    private void Begin(bool recover)
    {
        _log.Info(
            $"{DevicePath}: {_connections.Count} connections to the kernel, configured by"
                + $" {(_attachment.CanReconnect ? "netlink" : "ioctl")}");
        if (!_attachment.CanReconnect)
        {
            _log.Warning(
                $"this kernel's NBD driver has no netlink interface: {DevicePath} does not survive its server, and recovery is not"
                    + $" possible");
        }

        _watch?.Start();
        if (recover && _attachment.Device.Size != _config.Size)
            Resize(_config.Size);

        // The kernel looks for partitions when the device is opened next: then they are there when attach returns.
        var scanned = BlockDeviceFlush.Open(DevicePath!, s_scanTimeout);
        if (scanned < 0)
            _log.Warning($"cannot open {DevicePath} to look for partitions: {Errno.Text(scanned)}");
    }

    private static int Configure(NbdDeviceConfig config, int[] sockets, bool recover, bool netlink, out INbdAttachment? attachment,
        out string? text)
    {
        NetlinkAttachment? byNetlink;
        IoctlAttachment? byIoctl;
        text = null;
        int error;
        if (!netlink)
        {
            error = IoctlAttachment.Connect(config, sockets[0], out byIoctl);
            attachment = byIoctl;
            return error;
        }

        error = recover
            ? NetlinkAttachment.TakeOver(config, sockets, out byNetlink, out text)
            : NetlinkAttachment.Connect(config, sockets, out byNetlink, out text);
        attachment = byNetlink;
        return error;
    }

    private static KernelNbdDevice? ToRecover(KernelNbdOptions options, KernelNbdAvailability available)
    {
        if (options.RecoverDevice is null)
            return null;
        if (!KernelNbdDevice.TryParse(options.RecoverDevice, out var device))
            throw new ExportRefusedException(ExportRefusal.Failed, $"{options.RecoverDevice} is not a kernel NBD device");
        if (!available.HasNetlink)
        {
            throw new ExportRefusedException(ExportRefusal.Unavailable,
                $"{device.Path} cannot be taken over: the kernel's NBD driver has no netlink interface");
        }

        return device.IsConfigured
            ? device
            : throw new ExportRefusedException(ExportRefusal.Failed,
                $"{device.Path} is gone: nobody took it over within its dead timeout, or it was disconnected", "attach it again");
    }

    private static KernelNbdDevice? ToMake(KernelNbdOptions options)
    {
        if (options.Device is null)
            return null;
        return KernelNbdDevice.TryParse(options.Device, out var device)
            ? device
            : throw new ExportRefusedException(ExportRefusal.Failed, $"{options.Device} is not a kernel NBD device",
                "name one such as /dev/nbd0, or another --transport");
    }

    /// <summary>What the kernel is told of the disk.</summary>
    /// <param name="options">what the user asked for</param>
    /// <param name="info">what NBD clients would be told of it</param>
    /// <param name="device">which device; null lets the kernel choose</param>
    /// <param name="connections">how many it gets</param>
    /// <param name="netlink">whether it is made by netlink, else by ioctl</param>
    /// <exception cref="ExportRefusedException">there can be no block device of that size</exception>
    internal static NbdDeviceConfig ConfigFor(
        KernelNbdOptions options, ExportInfo info, KernelNbdDevice? device, int connections, bool netlink)
    {
        var flags = TransmissionFlags.HasFlags | TransmissionFlags.SendFlush | TransmissionFlags.SendFua;
        flags |= info.ReadOnly ? TransmissionFlags.ReadOnly : TransmissionFlags.SendTrim | TransmissionFlags.SendWriteZeroes;
        if (connections > 1)
            flags |= TransmissionFlags.CanMultiConnection;
        return new NbdDeviceConfig
        {
            Index = device?.Index,
            Size = BlockDeviceSize.Require(info.Size, options.BlockSize).Bytes,
            BlockSize = options.BlockSize,
            Flags = (ulong)flags,
            Identifier = KernelNbdDevice.IdentifierOf(info.Name, options.Image),

            // Without netlink a connection that was given up cannot be replaced: then none is ever given up.
            Timeout = netlink ? options.Timeout : 0,
            DeadTimeout = netlink ? options.DeadTimeout : 0,
        };
    }

    /// <summary>What a handshake would have settled: simple replies, and nothing that the kernel does not ask for.</summary>
    private static NegotiatedSession SessionFor(ExportInfo info, int connections) =>
        new(info with { MultiConnection = connections > 1, CanFastZero = false, CanCache = false }, ReplyMode.Simple, [],
            blockSizesRequested: false);

    private static ExportRefusedException Refusal(int error, string? text, NbdDeviceConfig config, bool recover)
    {
        var device = config.Index is { } index ? new KernelNbdDevice(index).Path : "a kernel NBD device";
        var words = text is null ? Errno.Text(error) : $"{Errno.Text(error)} ({text})";
        return error switch
        {
            -Errno.EBUSY =>
                new ExportRefusedException(ExportRefusal.Busy, $"{device} is {UseOf(config)}",
                    "name another with --device, or none for the first free"),
            -Errno.ENODEV =>
                new ExportRefusedException(ExportRefusal.Busy, "no /dev/nbdN is free",
                    "load the module with more: modprobe nbd nbds_max=64"),
            -Errno.EPERM =>
                new ExportRefusedException(ExportRefusal.Denied,
                    "the kernel gives NBD devices only to CAP_SYS_ADMIN of the first user namespace", "run as root of the host"),
            -Errno.EINVAL when recover =>
                new ExportRefusedException(ExportRefusal.Failed,
                    $"{device} no longer belongs to this image, or its dead timeout has passed: {words}", "attach it again"),
            _ => new ExportRefusedException(ExportRefusal.Failed,
                $"the kernel did not {(recover ? "hand over" : "make")} {device}: {words}"),
        };
    }

    /// <summary>A device that is nobody's is refused while its node is open: by whom is what helps.</summary>
    private static string UseOf(NbdDeviceConfig config) =>
        config.Index is { } index && new KernelNbdDevice(index) is { IsConfigured: false } device
            ? new BlockDeviceUsers().Find(device.Name, tryExclusive: false) ?? "open in another program"
            : "in use";

    private static void CloseAll(int[] descriptors)
    {
        foreach (var fd in descriptors)
            Files.Close(fd);
    }
}
