using System;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices;

/// <summary>Which block device of the kernel is made: as asked for, else ublk, else NBD.</summary>
internal sealed class BlockDeviceChoice
{
    /// <summary>Why there is no ublk here; null if there is. Makes nothing.</summary>
    public required Func<ExportRefusedException?> UblkRefusal { get; init; }

    public required Func<IExport> OpenUblk { get; init; }

    /// <summary>Why there is no NBD in the kernel here; null if there is. Makes nothing.</summary>
    public required Func<ExportRefusedException?> NbdRefusal { get; init; }

    public required Func<IExport> OpenNbd { get; init; }

    /// <exception cref="ExportRefusedException">none can be had: with the reason of each</exception>
    public IExport Open(AttachOptions options, ILog log)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (KernelNode.TryParse(options.RecoverDevice) is { } node)
            return Only(node.Transport, $"{node.Path} already exists", log);
        if (options.Transport != DeviceTransport.Auto)
            return Only(options.Transport, "it was asked for", log);
        // These say what only ublk has.
        if (options.NullIo || options.UblkMode != UblkMode.Auto)
            return Only(DeviceTransport.Ublk, options.NullIo ? "--null-io needs it" : "--ublk-mode needs it", log);
        return First(log);
    }

    private IExport Only(DeviceTransport transport, string why, ILog log)
    {
        var ublk = transport == DeviceTransport.Ublk;
        // Asked first: that it is missing says more than the step that fails of it.
        if ((ublk ? UblkRefusal() : NbdRefusal()) is { } refusal)
            throw refusal;
        var export = ublk ? OpenUblk() : OpenNbd();
        log.Info($"transport {DeviceTransports.Words.Of(transport)}: {why}");
        return export;
    }

    private IExport First(ILog log)
    {
        var ublk = UblkRefusal();
        if (ublk is null)
        {
            try
            {
                var export = OpenUblk();
                log.Info("transport ublk: this kernel has it");
                return export;
            }
            catch (ExportRefusedException refusal) when (refusal.Refusal != ExportRefusal.Busy)
            {
                ublk = refusal;
            }
        }

        var nbd = NbdRefusal();
        if (nbd is not null)
            throw Neither(ublk, nbd);
        try
        {
            var export = OpenNbd();
            log.Info($"transport nbd: no ublk, {ublk.Message}");
            return export;
        }
        catch (ExportRefusedException refusal)
        {
            throw Neither(ublk, refusal);
        }
    }

    private static ExportRefusedException Neither(ExportRefusedException ublk, ExportRefusedException nbd)
    {
        var kind = ublk.Refusal == ExportRefusal.Denied || nbd.Refusal == ExportRefusal.Denied ? ExportRefusal.Denied
            : nbd.Refusal;
        // One hint that helps is enough; the first is that of the faster way.
        return new ExportRefusedException(kind, $"no ublk: {ublk.Message}; no kernel NBD: {nbd.Message}",
            (ublk.Hint ?? nbd.Hint) is { } hint ? $"{hint}; or serve NBD with --socket PATH" : "serve NBD with --socket PATH");
    }
}
