using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Uring;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>The steps by which a ublk device comes into being or is taken over, and goes; what fails half-way is undone.</summary>
internal sealed class UblkOpening(UblkExportOptions options, IReadOnlyList<EventLoop> loops, ServedDisk served, Action<string> report)
{
    private const ulong RecoveryFlags = Interop.Ublk.UBLK_F_USER_RECOVERY | Interop.Ublk.UBLK_F_USER_RECOVERY_REISSUE
        | Interop.Ublk.UBLK_F_CMD_IOCTL_ENCODE;
    private static readonly TimeSpan s_nodeTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_startTimeout = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_removeTimeout = TimeSpan.FromSeconds(10);

    private readonly List<UblkQueue> _queues = [];
    private readonly BlockDeviceSize _size = BlockDeviceSize.Require(served.Size, options.BlockSize);

    public delegate UblkExport Make(UblkControl control, UblkQueue[] queues, UblkShape shape, in ublksrv_ctrl_dev_info info);

    public UblkExport Run(Make make)
    {
        var availability = UblkControl.Availability();
        if (availability.Refusal is { } refusal)
            throw refusal;
        foreach (var warning in availability.Warnings)
            report(warning);
        var control = UblkControl.Open();
        try
        {
            var info = options.Recover ? BeginRecovery(control) : Add(control, availability);
            return Start(control, ref info, make);
        }
        catch
        {
            control.Dispose();
            throw;
        }
    }

    /// <summary>Frees everything of a device that was stopped, or never started, and deletes it.</summary>
    /// <param name="control">the way to the driver</param>
    /// <param name="queues">the queues it had</param>
    /// <param name="shape">what else it had; null if nothing yet</param>
    /// <param name="id">its number</param>
    /// <param name="report">told if it stays</param>
    /// <param name="inUse">whether somebody may still have the disk open, for as long as he likes</param>
    public static void Remove(
        UblkControl control, IReadOnlyList<UblkQueue> queues, UblkShape? shape, int id, Action<string> report, bool inUse = false)
    {
        var quiet = true;
        foreach (var queue in queues)
        {
            if (queue.WaitForEnd(TimeSpan.Zero))
                queue.Dispose();
            else
                quiet = false; // The kernel may still write there.
        }

        if (shape is not null)
            Files.Close(shape.Descriptor);

        // What still refers to the device would make the plain command wait, and with it everybody's.
        var error = quiet && !inUse ? control.DeleteDevice(id, async: false, s_removeTimeout) : -Errno.EBUSY;
        if (error < 0)
            error = control.DeleteDevice(id, async: true);
        if (error == -Errno.EOPNOTSUPP && inUse)
            error = control.DeleteDevice(id, async: false, s_removeTimeout); // Before Linux 6.9.
        if (error < 0 && error != -Errno.ENODEV)
            report($"cannot delete ublk device {id}: {Errno.Text(error)}");
    }

    private ublksrv_ctrl_dev_info Add(UblkControl control, UblkAvailability availability)
    {
        var mode = UblkModeChoice.Choose(options, availability);
        ublksrv_ctrl_dev_info info = new()
        {
            dev_id = options.Id is { } wanted ? (uint)wanted : Interop.Ublk.AnyDevice,
            nr_hw_queues = (ushort)loops.Count,
            queue_depth = (ushort)options.Depth,
            max_io_buf_bytes = (uint)UblkModeChoice.MaximumBytesOf(mode),
            flags = UblkModeChoice.FlagsOf(mode)
            | (availability.IsUnprivileged ? Interop.Ublk.UBLK_F_UNPRIVILEGED_DEV : options.IsRecoverable ? RecoveryFlags : 0),
            ublksrv_flags = UblkDevice.Mark,
            owner_uid = Unistd.EffectiveUser(),
            owner_gid = Unistd.EffectiveGroup(),
        };
        var error = control.AddDevice(ref info);
        if (error == -Errno.EEXIST)
            throw new ExportRefusedException(ExportRefusal.Busy, $"ublk device {options.Id} exists", "choose another --device");
        if (error < 0)
            throw new ExportRefusedException(ExportRefusal.Failed, $"the kernel did not add a ublk device: {Errno.Text(error)}");
        try
        {
            CheckGranted(info, mode);
            error = SetParameters(control, info);
            return error == 0
                ? info
                : throw new ExportRefusedException(ExportRefusal.Failed,
                    $"the kernel refused the parameters of ublk device {info.dev_id}: {Errno.Text(error)}");
        }
        catch
        {
            Remove(control, [], null, (int)info.dev_id, report);
            throw;
        }
    }

    private int SetParameters(UblkControl control, ublksrv_ctrl_dev_info info)
    {
        var parameters = UblkParameters.Of(DiskFor(info));
        // Who may command a user's device is who may use its node, and udev sets its owner a moment after it appears.
        return UblkNodes.Retry(() => control.SetParameters((int)info.dev_id, parameters), s_nodeTimeout, retryBusy: false);
    }

    private UblkDisk DiskFor(in ublksrv_ctrl_dev_info info) => new()
    {
        Size = _size.Disk,
        IsReadOnly = options.ReadOnly,
        LogicalBlockSize = options.BlockSize,
        ClusterSize = options.ClusterSize,
        MemoryAlignment = UblkModeChoice.Of(info.flags) == UblkMode.ZeroCopy ? options.MemoryAlignment : 0,
        MaxIoBytes = info.max_io_buf_bytes,
        CanDiscard = options.Discards,
    };

    private void CheckGranted(in ublksrv_ctrl_dev_info info, UblkMode mode)
    {
        // Kernels drop flags that they do not know without a word.
        if (UblkModeChoice.Of(info.flags) != mode && options.Mode != UblkMode.Auto)
        {
            throw new ExportRefusedException(ExportRefusal.Unavailable,
                $"the kernel granted flags 0x{info.flags:x}, which are not those of --ublk-mode {UblkModes.Words.Of(mode)}",
                "use --ublk-mode auto");
        }

        if ((info.flags & RecoveryFlags) != RecoveryFlags && options.IsRecoverable)
            report("this device cannot be recovered when its server dies: it belongs to an unprivileged user");
    }

    private ublksrv_ctrl_dev_info BeginRecovery(UblkControl control)
    {
        var id = options.Id!.Value;
        var error = control.GetDeviceInfo(id, out var info);
        if (error < 0)
        {
            throw new ExportRefusedException(ExportRefusal.Failed, $"there is not a ublk device {id} to recover: {Errno.Text(error)}",
                "attach the image again");
        }

        if (info.nr_hw_queues != loops.Count)
        {
            throw new ExportRefusedException(ExportRefusal.Failed,
                $"ublk device {id} has {info.nr_hw_queues} queues, and {loops.Count} loops were made for it");
        }

        // The old server's descriptors are closed a moment after it was seen to die.
        var deadline = DateTime.UtcNow + s_nodeTimeout;
        while ((error = control.StartUserRecovery(id)) == -Errno.EBUSY && DateTime.UtcNow < deadline)
            Thread.Sleep(20);
        return error == 0
            ? info
            : throw new ExportRefusedException(
                error == -Errno.EBUSY ? ExportRefusal.Busy : ExportRefusal.Failed,
                $"cannot take over ublk device {id}: {Errno.Text(error)}", error == -Errno.EBUSY ? "its server is still running" : null);
    }

    private UblkExport Start(UblkControl control, ref ublksrv_ctrl_dev_info info, Make make)
    {
        UblkShape? shape = null;
        try
        {
            shape = ShapeOf(info, OpenNode((int)info.dev_id));
            for (var i = 0; i < info.nr_hw_queues; i++)
                _queues.Add(new UblkQueue(shape, loops[i], served, i, report));
            StartQueues(control, (int)info.dev_id);
            var error = options.Recover
                ? control.EndUserRecovery((int)info.dev_id, Environment.ProcessId, s_startTimeout)
                : control.StartDevice((int)info.dev_id, Environment.ProcessId, s_startTimeout);
            if (error < 0)
            {
                throw new ExportRefusedException(ExportRefusal.Failed,
                    $"the kernel did not start ublk device {info.dev_id}: {Errno.Text(error)}");
            }

            if (!options.Recover)
                WaitForNode((int)info.dev_id);
            if (options.Recover)
                ApplySize(control, (int)info.dev_id);
            return make(control, [.. _queues], shape, info);
        }
        catch
        {
            GiveUp(control, shape, (int)info.dev_id);
            throw;
        }
    }

    private static int OpenNode(int id)
    {
        var descriptor = UblkNodes.OpenCharacter(id, s_nodeTimeout);
        return descriptor >= 0
            ? descriptor
            : throw new ExportRefusedException(ExportRefusal.Failed,
                $"cannot open {UblkNodes.CharacterPath(id)}: {Errno.Text(descriptor)}");
    }

    private static void WaitForNode(int id)
    {
        var error = UblkNodes.WaitForBlock(id, s_nodeTimeout);
        var path = UblkNodes.BlockPath(id);
        // A program that wrote to the name while there was no device made a file of it.
        if (error < 0 && Stat.OfPath(path, out _) == 0)
        {
            throw new ExportRefusedException(ExportRefusal.Failed, $"{path} is a file where the block device should be",
                $"see what it is, remove it and attach again");
        }

        if (error < 0)
            throw new ExportRefusedException(ExportRefusal.Failed, $"{path} did not appear: {Errno.Text(error)}");

        // From 7.0 on partitions are read after the start. A suspend that came before would keep every open of the disk waiting.
        TimedCall.Run("qcow2blk-probe", () => Files.Open(UblkNodes.BlockPath(id), O_RDONLY | O_CLOEXEC) is >= 0 and var disk
            ? Files.Close(disk) : 0, s_nodeTimeout);
    }

    /// <summary>The image may have another size than when the device was made: it was edited while suspended, and then the server
    /// died.</summary>
    private void ApplySize(UblkControl control, int id)
    {
        if (control.GetParameters(id, out var parameters) == 0 && parameters.basic.dev_sectors != (ulong)_size.Sectors
            && control.UpdateSize(id, _size.Sectors) is var error and < 0)
        {
            report($"ublk device {id} keeps its old size: {Errno.Text(error)}");
        }
    }

    private UblkShape ShapeOf(in ublksrv_ctrl_dev_info info, int descriptor)
    {
        var size = (info.flags & Interop.Ublk.UBLK_F_IO_DESC_SIZE) != 0 && info.io_desc_size != 0 ? info.io_desc_size : 24;
        return new UblkShape(
            descriptor, info.queue_depth, size, (int)info.max_io_buf_bytes, UblkModeChoice.Of(info.flags), options.NullIo);
    }

    private void StartQueues(UblkControl control, int id)
    {
        using var started = new CountdownEvent(_queues.Count);
        var failure = 0;
        foreach (var queue in _queues)
        {
            var known = control.GetQueueAffinity(id, queue.Index, out var processors) == 0;
            queue.Loop.PostFromAnyThread(() =>
            {
                if (known)
                    Threads.SetAffinity(processors);
                if (queue.Start() is var error and < 0)
                    failure = error;
                started.Signal();
            });
        }

        started.Wait();
        if (failure < 0)
        {
            throw new ExportRefusedException(ExportRefusal.Failed, $"cannot register buffers with the ring: {Errno.Text(failure)}",
                "use --ublk-mode map");
        }
    }

    /// <summary>Undoes what was begun. A device that was to be recovered is left as it was: waiting for a server.</summary>
    private void GiveUp(UblkControl control, UblkShape? shape, int id)
    {
        if (options.Recover)
            return; // The process ends, and with it what the kernel holds for it.
        control.StopDevice(id, s_removeTimeout);
        foreach (var queue in _queues)
            queue.WaitForEnd(TimeSpan.FromSeconds(1));
        Remove(control, _queues, shape, id, report);
    }
}
