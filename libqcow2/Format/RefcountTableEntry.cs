namespace Qcow2Blk.Format;

/// <summary>A refcount table entry (specification, "Refcount table entry"): where a refcount block is.</summary>
internal static class RefcountTableEntry
{
    /// <summary>Bits 9 to 63: offset of the refcount block; 0: none, all its clusters have refcount 0.</summary>
    public const ulong OffsetMask = 0xffff_ffff_ffff_fe00;

    /// <summary>Bits 0 to 8: "reserved (set to 0)".</summary>
    public const ulong ReservedMask = 0x1ff;

    /// <summary>Decodes one entry in host byte order; reserved bits are ignored, as qemu does when it runs.</summary>
    /// <returns>false: corrupt, not cluster aligned or beyond <see cref="Limits.MaxHostOffset"/></returns>
    public static bool TryDecode(ulong raw, in Geometry geometry, out HostOffset block)
    {
        var offset = raw & OffsetMask;
        block = new HostOffset((long)offset);
        return offset < Limits.MaxHostOffset && (offset & (ulong)geometry.ClusterMask) == 0;
    }
}
