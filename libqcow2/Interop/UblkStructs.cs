using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>The payload of a control command, at <c>cmd</c> of a 128-byte SQE.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct ublksrv_ctrl_cmd
{
    [FieldOffset(0)] public uint dev_id;
    [FieldOffset(4)] public ushort queue_id;
    [FieldOffset(6)] public ushort len;
    [FieldOffset(8)] public ulong addr;
    [FieldOffset(16)] public ulong data;
    [FieldOffset(24)] public ushort dev_path_len;
}

/// <summary>A device: what ADD_DEV asks for and gets, and what GET_DEV_INFO answers.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal struct ublksrv_ctrl_dev_info
{
    [FieldOffset(0)] public ushort nr_hw_queues;
    [FieldOffset(2)] public ushort queue_depth;
    [FieldOffset(4)] public ushort state;
    [FieldOffset(6)] public ushort io_desc_size;
    [FieldOffset(8)] public uint max_io_buf_bytes;
    [FieldOffset(12)] public uint dev_id;
    [FieldOffset(16)] public int ublksrv_pid;
    [FieldOffset(24)] public ulong flags;

    /// <summary>Ours: the driver keeps it and never looks at it.</summary>
    [FieldOffset(32)] public ulong ublksrv_flags;

    [FieldOffset(40)] public uint owner_uid;
    [FieldOffset(44)] public uint owner_gid;
}

/// <summary>One request, in memory that the driver writes and we map read-only: slot <c>tag</c> of the queue.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal struct ublksrv_io_desc
{
    /// <summary>Operation in bits 0 to 7, <c>UBLK_IO_F_*</c> above.</summary>
    [FieldOffset(0)] public uint op_flags;

    [FieldOffset(4)] public uint nr_sectors;
    [FieldOffset(8)] public ulong start_sector;
    [FieldOffset(16)] public ulong addr;
}

/// <summary>The payload of a command to <c>/dev/ublkcN</c>, at <c>cmd</c> of an ordinary SQE.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct ublksrv_io_cmd
{
    [FieldOffset(0)] public ushort q_id;
    [FieldOffset(2)] public ushort tag;
    [FieldOffset(4)] public int result;
    [FieldOffset(8)] public ulong addr;
}

/// <summary>What <c>sqe.addr</c> carries with AUTO_BUF_REG.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct ublk_auto_buf_reg
{
    [FieldOffset(0)] public ushort index;
    [FieldOffset(2)] public byte flags;
    [FieldOffset(3)] public byte reserved0;
    [FieldOffset(4)] public uint reserved1;
}
