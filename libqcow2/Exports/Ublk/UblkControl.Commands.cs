using System;
using System.Collections;
using System.Runtime.InteropServices;
using Qcow2Blk.Interop;
using static Qcow2Blk.Interop.Ublk;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>The commands, one method each, named as the kernel names them.</summary>
internal sealed partial class UblkControl
{
    /// <summary>What the driver can do (<c>UBLK_F_*</c>). Needs no device and no rights but those to the node. Linux 6.5.</summary>
    public int GetFeatures(out ulong features)
    {
        features = 0;
        Span<byte> answer = stackalloc byte[UBLK_FEATURES_LEN];
        lock (_lock)
        {
            ublksrv_ctrl_cmd header = new() { dev_id = AnyDevice, queue_id = NoQueue };
            var result = Send(UBLK_U_CMD_GET_FEATURES, header, answer, withPath: false, ShortTime);
            if (result == 0)
                features = BitConverter.ToUInt64(answer);
            return result;
        }
    }

    /// <summary>Makes <c>/dev/ublkcN</c>.</summary>
    /// <param name="info">
    /// what is asked for, <c>dev_id</c> <see cref="AnyDevice"/> for the first free; back comes what was given:
    /// compare flags, queues and <c>max_io_buf_bytes</c>, the driver drops what it cannot do without a word
    /// </param>
    /// <param name="timeout">null: <see cref="LongTime"/>; some kernels never come back from this command</param>
    public int AddDevice(ref ublksrv_ctrl_dev_info info, TimeSpan? timeout = null)
    {
        lock (_lock)
        {
            ublksrv_ctrl_cmd header = new() { dev_id = info.dev_id, queue_id = NoQueue };
            var data = MemoryMarshal.AsBytes(new Span<ublksrv_ctrl_dev_info>(ref info));
            var result = Send(UBLK_U_CMD_ADD_DEV, header, data, withPath: false, timeout ?? LongTime);
            if (result == 0)
                _needsPath[info.dev_id] = (info.flags & UBLK_F_UNPRIVILEGED_DEV) != 0;
            return result;
        }
    }

    /// <summary>Deletes a device.</summary>
    /// <param name="device">its number</param>
    /// <param name="async">
    /// false waits until the number is free, which is when the last descriptor and mapping of the character device, the
    /// last ring that holds it and the last opener of the disk are gone; true does not wait (Linux 6.9)
    /// </param>
    /// <param name="timeout">null: <see cref="LongTime"/></param>
    public int DeleteDevice(int device, bool async = false, TimeSpan? timeout = null)
    {
        var result = ToDevice(async ? UBLK_U_CMD_DEL_DEV_ASYNC : UBLK_U_CMD_DEL_DEV, device, 0, timeout ?? LongTime);
        if (result == 0)
        {
            lock (_lock)
                _needsPath.Remove((uint)device);
        }

        return result;
    }

    /// <summary>Sets the parameters of a device that was not started yet.</summary>
    public int SetParameters(int device, in ublk_params parameters)
    {
        var copy = parameters;
        return ToDevice(UBLK_U_CMD_SET_PARAMS, device, ref copy, null);
    }

    /// <summary>The parameters as set; <c>devt</c> is filled by the driver.</summary>
    public unsafe int GetParameters(int device, out ublk_params parameters)
    {
        // The driver wants some type named, and answers with all that it has.
        parameters = new ublk_params { len = (uint)sizeof(ublk_params), types = UBLK_PARAM_TYPE_BASIC };
        return ToDevice(UBLK_U_CMD_GET_PARAMS, device, ref parameters, null);
    }

    /// <summary>Makes <c>/dev/ublkbN</c>: waits until every tag of every queue was fetched.</summary>
    /// <param name="device">its number</param>
    /// <param name="pid">the process (not thread) that opened the character device</param>
    /// <param name="timeout">null: <see cref="LongTime"/>. Up to about Linux 6.18 partitions are read meanwhile, so the queues must
    /// serve</param>
    public int StartDevice(int device, int pid, TimeSpan? timeout = null) =>
        ToDevice(UBLK_U_CMD_START_DEV, device, (ulong)pid, timeout ?? LongTime);

    /// <summary>Takes the disk away: waits for the requests in progress, which must be served.</summary>
    /// <param name="device">its number</param>
    /// <param name="timeout">
    /// null: <see cref="LongTime"/>. A stop that is late is not taken back: it goes on in the kernel, and holds up the
    /// commands to all devices until the requests end
    /// </param>
    public int StopDevice(int device, TimeSpan? timeout = null) =>
        ToDevice(UBLK_U_CMD_STOP_DEV, device, 0, timeout ?? LongTime);

    /// <summary>The same, but -EBUSY if somebody has the disk open. Linux 7.0 (<c>UBLK_F_SAFE_STOP_DEV</c>), else -EOPNOTSUPP.</summary>
    public int TryStopDevice(int device, TimeSpan? timeout = null) =>
        ToDevice(UBLK_U_CMD_TRY_STOP_DEV, device, 0, timeout ?? LongTime);

    /// <summary>What a device is: state, server, queues, flags.</summary>
    public int GetDeviceInfo(int device, out ublksrv_ctrl_dev_info info)
    {
        lock (_lock)
        {
            var result = QueryInfo((uint)device, out info);
            if (result == 0)
                _needsPath[(uint)device] = (info.flags & UBLK_F_UNPRIVILEGED_DEV) != 0;
            return result;
        }
    }

    /// <summary>The processors that send their requests to a queue.</summary>
    public int GetQueueAffinity(int device, int queue, out BitArray processors)
    {
        // More than any kernel is built for (NR_CPUS up to 8192); the driver clears what it does not use.
        var mask = new byte[1024];
        lock (_lock)
        {
            ublksrv_ctrl_cmd header = new() { dev_id = (uint)device, queue_id = NoQueue, data = (ulong)queue };
            var result = Send(UBLK_U_CMD_GET_QUEUE_AFFINITY, header, mask, NeedsPath((uint)device), ShortTime);
            processors = new BitArray(mask);
            return result;
        }
    }

    /// <summary>
    /// Prepares a device whose server is gone for a new one. -EBUSY while anything of the old server still holds the
    /// character device, or its disk is not quiesced yet: ask again.
    /// </summary>
    public int StartUserRecovery(int device, TimeSpan? timeout = null) =>
        ToDevice(UBLK_U_CMD_START_USER_RECOVERY, device, 0, timeout ?? ShortTime);

    /// <summary>Lets the requests go to the new server: waits like <see cref="StartDevice"/>.</summary>
    public int EndUserRecovery(int device, int pid, TimeSpan? timeout = null) =>
        ToDevice(UBLK_U_CMD_END_USER_RECOVERY, device, (ulong)pid, timeout ?? LongTime);

    /// <summary>Changes the size of a started disk. Linux 6.16 (<c>UBLK_F_UPDATE_SIZE</c>), else -EOPNOTSUPP.</summary>
    /// <param name="device">its number</param>
    /// <param name="sectors">of 512 bytes; a multiple of the logical block, which the driver does not check</param>
    public int UpdateSize(int device, long sectors)
    {
        // Without a disk the first kernels with this command dereference a null pointer.
        var result = GetDeviceInfo(device, out var info);
        if (result < 0)
            return result;
        if (info.state is not (UBLK_S_DEV_LIVE or UBLK_S_DEV_QUIESCED))
            return -Errno.ENODEV;
        return ToDevice(UBLK_U_CMD_UPDATE_SIZE, device, (ulong)sectors, ShortTime);
    }

    /// <summary>
    /// GET_DEV_INFO, and GET_DEV_INFO2 (Linux 6.3) where the device is an unprivileged user's: the former is refused then
    /// as it carries no path, whoever asks.
    /// </summary>
    private int QueryInfo(uint device, out ublksrv_ctrl_dev_info info)
    {
        info = default;
        ublksrv_ctrl_cmd header = new() { dev_id = device, queue_id = NoQueue };
        var data = MemoryMarshal.AsBytes(new Span<ublksrv_ctrl_dev_info>(ref info));
        var result = Send(UBLK_U_CMD_GET_DEV_INFO, header, data, withPath: false, ShortTime);
        return result == -Errno.EINVAL ? Send(UBLK_U_CMD_GET_DEV_INFO2, header, data, withPath: true, ShortTime) : result;
    }
}
