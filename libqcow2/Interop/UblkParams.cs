using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>
/// All that SET_PARAMS and GET_PARAMS carry, as of Linux 7.3. Kernels copy as much as both sides know and ignore
/// types that they do not know: the long form is right for all.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 152)]
internal struct ublk_params
{
    [FieldOffset(0)] public uint len;
    [FieldOffset(4)] public uint types;
    [FieldOffset(8)] public ublk_param_basic basic;
    [FieldOffset(40)] public ublk_param_discard discard;
    [FieldOffset(60)] public ublk_param_devt devt;
    [FieldOffset(76)] public ublk_param_zoned zoned;
    [FieldOffset(108)] public ublk_param_dma_align dma;
    [FieldOffset(120)] public ublk_param_segment seg;
    [FieldOffset(136)] public ublk_param_integrity integrity;
}

[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct ublk_param_basic
{
    [FieldOffset(0)] public uint attrs;
    [FieldOffset(4)] public byte logical_bs_shift;
    [FieldOffset(5)] public byte physical_bs_shift;
    [FieldOffset(6)] public byte io_opt_shift;
    [FieldOffset(7)] public byte io_min_shift;
    [FieldOffset(8)] public uint max_sectors;
    [FieldOffset(12)] public uint chunk_sectors;
    [FieldOffset(16)] public ulong dev_sectors;
    [FieldOffset(24)] public ulong virt_boundary_mask;
}

[StructLayout(LayoutKind.Explicit, Size = 20)]
internal struct ublk_param_discard
{
    [FieldOffset(0)] public uint discard_alignment;
    [FieldOffset(4)] public uint discard_granularity;
    [FieldOffset(8)] public uint max_discard_sectors;
    [FieldOffset(12)] public uint max_write_zeroes_sectors;
    [FieldOffset(16)] public ushort max_discard_segments;
}

/// <summary>Device numbers: only GET_PARAMS fills them, the disk's once it was started.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct ublk_param_devt
{
    [FieldOffset(0)] public uint char_major;
    [FieldOffset(4)] public uint char_minor;
    [FieldOffset(8)] public uint disk_major;
    [FieldOffset(12)] public uint disk_minor;
}

/// <summary>Never set: here for its size.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct ublk_param_zoned
{
    [FieldOffset(0)] public uint max_open_zones;
    [FieldOffset(4)] public uint max_active_zones;
    [FieldOffset(8)] public uint max_zone_append_sectors;
}

[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct ublk_param_dma_align
{
    /// <summary>A mask: 511 means 512 bytes.</summary>
    [FieldOffset(0)] public uint alignment;
}

[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct ublk_param_segment
{
    [FieldOffset(0)] public ulong seg_boundary_mask;
    [FieldOffset(8)] public uint max_segment_size;
    [FieldOffset(12)] public ushort max_segments;
}

/// <summary>Never set: here for its size.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct ublk_param_integrity
{
    [FieldOffset(0)] public uint flags;
    [FieldOffset(4)] public ushort max_integrity_segments;
    [FieldOffset(6)] public byte interval_exp;
    [FieldOffset(7)] public byte metadata_size;
    [FieldOffset(8)] public byte pi_offset;
    [FieldOffset(9)] public byte csum_type;
    [FieldOffset(10)] public byte tag_size;
}
