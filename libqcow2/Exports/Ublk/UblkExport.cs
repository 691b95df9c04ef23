using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>A disk as <c>/dev/ublkbN</c>: the device in the kernel, and its queues on the loops of the device.</summary>
internal sealed class UblkExport : IExport
{
    private static readonly TimeSpan s_endTimeout = TimeSpan.FromSeconds(5);

    private readonly UblkControl _control;
    private readonly UblkQueue[] _queues;
    private readonly UblkShape _shape;
    private readonly Action<string> _report;
    private readonly int _id;
    private readonly ulong _flags;
    private readonly bool _readOnly;
    private readonly int _blockSize;
    private readonly StopUblkDevice _stop;
    private volatile bool _held;
    private bool _stopped;
    private bool _forced;
    private bool _disposed;

    private UblkExport(
        UblkControl control, UblkQueue[] queues, UblkShape shape, in ublksrv_ctrl_dev_info info, UblkExportOptions options,
        Action<string> report)
    {
        _control = control;
        _queues = queues;
        _shape = shape;
        _report = report;
        _id = (int)info.dev_id;
        _flags = info.flags;
        _readOnly = options.ReadOnly;
        _blockSize = options.BlockSize;
        // One that can be recovered gives up what waits for it as soon as it is told to stop.
        _stop = (_flags & Interop.Ublk.UBLK_F_USER_RECOVERY) == 0 && options.StopElsewhere is { } elsewhere
            ? elsewhere
            : (id, timeout) => control.StopDevice(id, timeout);
    }

    public string Transport => "ublk";

    public string? Uri => null;

    public string DevicePath => $"/dev/ublkb{_id}";

    public int Connections => _queues.Length;

    public (int Active, int Parked, int Limited) InFlight
    {
        get
        {
            var (active, parked, limited) = (0, 0, 0);
            foreach (var gate in _queues.Select(queue => queue.Gate))
                (active, parked, limited) = (active + gate.Active, parked + gate.Parked, limited + gate.Limited);
            return (active, parked, limited);
        }
    }

    /// <summary>Makes a device, or takes one over whose server is gone. It serves when this returns.</summary>
    /// <exception cref="ExportRefusedException">the kernel has no ublk, or refuses the device; nothing is left behind</exception>
    public static UblkExport Open(UblkExportOptions options, IReadOnlyList<EventLoop> loops, ServedDisk served, Action<string> report)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(loops);
        return new UblkOpening(options, loops, served, report).Run(
            (UblkControl control, UblkQueue[] queues, UblkShape shape, in ublksrv_ctrl_dev_info info) =>
                new UblkExport(control, queues, shape, info, options, report));
    }

    /// <summary>Reads the number of a device from its node, /dev/ublkbN.</summary>
    public static bool TryParse(string node, out int id)
    {
        const string prefix = "/dev/ublkb";
        id = 0;
        return node.StartsWith(prefix, StringComparison.Ordinal)
            && int.TryParse(node.AsSpan(prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out id);
    }

    /// <summary>How many queues a device of this host has.</summary>
    /// <exception cref="ExportRefusedException">there is no such device</exception>
    public static int QueuesOf(int id)
    {
        using var control = UblkControl.Open();
        var error = control.GetDeviceInfo(id, out var info);
        return error == 0
            ? info.nr_hw_queues
            : throw new ExportRefusedException(ExportRefusal.Failed, $"there is not a ublk device {id}: {Errno.Text(error)}",
                "attach the image again");
    }

    public IoStatistics Statistics()
    {
        var sum = new IoStatistics();
        foreach (var queue in _queues)
            sum.Add(queue.Statistics);
        return sum;
    }

    public void Hold(Action drained)
    {
        _held = true;
        var left = _queues.Length;
        foreach (var queue in _queues)
        {
            queue.Loop.PostFromAnyThread(() => queue.Gate.Hold(() =>
            {
                if (Interlocked.Decrement(ref left) == 0)
                    drained();
            }));
        }
    }

    public void Release()
    {
        _held = false;
        foreach (var queue in _queues)
            queue.Loop.PostFromAnyThread(queue.Gate.Release);
    }

    public void Refuse(int error)
    {
        foreach (var queue in _queues)
            queue.Loop.PostFromAnyThread(() => queue.Gate.RefuseWaiting(error));
    }

    public string? Resize(long size)
    {
        var error = _control.UpdateSize(_id, new BlockDeviceSize(size, _blockSize).Sectors);
        return error switch
        {
            0 => null,
            -Errno.EOPNOTSUPP or -Errno.EINVAL or -Errno.ENOSYS =>
                "this kernel cannot change the size of a ublk device: detach and attach it again to see the new size",
            _ => $"the kernel did not take the new size ({Errno.Text(error)}): detach and attach the device again to see the new size",
        };
    }

    public string? FindUser() => new BlockDeviceUsers().Find($"ublkb{_id}", tryExclusive: !_held);

    public int Stop(bool force, TimeSpan timeout)
    {
        if (_stopped)
            return 0;
        var claim = force ? -1 : BlockDeviceFlush.Claim(DevicePath, _readOnly, timeout);
        if (claim < 0 && !force)
            return claim;
        var result = _stop(_id, timeout);
        if (claim >= 0)
            BlockDeviceFlush.Release(claim, timeout); // Nothing of the device can be deleted before.
        if (result < 0)
            return result;
        _stopped = true;
        _forced = force;
        foreach (var queue in _queues)
        {
            if (!queue.WaitForEnd(s_endTimeout))
                _report($"{DevicePath}: the kernel did not return all requests of queue {queue.Index}");
        }

        return 0;
    }

    /// <summary>The end of this process is what lets go: commands that wait in the kernel hold the device until then.</summary>
    public int HandOver(TimeSpan timeout, ICollection<int> kept) => 0;

    public void WriteStatus(Utf8JsonWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.WriteNumber("depth", _shape.Depth);
        writer.WriteNumber("max-request-bytes", _shape.MaximumBytes);
        writer.WriteString("ublk-mode", UblkModes.Words.Of(_shape.Mode));
        if (_shape.Mode == UblkMode.ZeroCopy)
        {
            long zeroCopied = 0;
            foreach (var queue in _queues)
                zeroCopied += queue.ZeroCopied;
            writer.WriteNumber("zero-copy-requests", zeroCopied);
        }

        writer.WriteString("ublk-flags", $"0x{_flags:x}");
    }

    /// <summary>Removes a stopped device. One that was not stopped stays for the next server: the process must end then.</summary>
    public void Dispose()
    {
        if (_disposed || !_stopped)
            return;
        _disposed = true;
        UblkOpening.Remove(_control, _queues, _shape, _id, _report, inUse: _forced);
        _control.Dispose();
    }
}
