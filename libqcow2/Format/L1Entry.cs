namespace Qcow2Blk.Format;

/// <summary>A decoded L1 table entry (specification, "L1 table entry").</summary>
/// <param name="Offset">where the L2 table starts; 0: none, all its clusters are unallocated</param>
/// <param name="Copied">bit 63: the refcount of the L2 table is exactly one</param>
internal readonly record struct L1Entry(HostOffset Offset, bool Copied)
{
    /// <summary>Bit 63.</summary>
    public const ulong CopiedFlag = 1UL << 63;

    /// <summary>Bits 9 to 55: L2 table offset.</summary>
    public const ulong OffsetMask = 0x00ff_ffff_ffff_fe00;

    /// <summary>Bits 0 to 8 and 56 to 62: "reserved (set to 0)".</summary>
    public const ulong ReservedMask = 0x7f00_0000_0000_01ff;

    /// <summary>No L2 table.</summary>
    public bool IsEmpty => Offset.Value == 0;

    /// <summary>False: corrupt, L2 tables start at cluster boundaries.</summary>
    public bool IsAligned(in Geometry geometry) => (Offset.Value & geometry.ClusterMask) == 0;

    /// <summary>Decodes one entry in host byte order. Reserved bits are ignored, as qemu does when it runs.</summary>
    public static L1Entry Decode(ulong raw) => new(new HostOffset((long)(raw & OffsetMask)), (raw & CopiedFlag) != 0);

    public static bool HasReservedBits(ulong raw) => (raw & ReservedMask) != 0;

    public static ulong Encode(HostOffset offset, bool copied) => (ulong)offset.Value | (copied ? CopiedFlag : 0);
}
