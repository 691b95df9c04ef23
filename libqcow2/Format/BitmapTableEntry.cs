namespace Qcow2Blk.Format;

/// <summary>One entry of a bitmap table (specification, "Bitmap table"): what a cluster of bitmap data holds.</summary>
internal static class BitmapTableEntry
{
    /// <summary>No cluster: all bits are 0.</summary>
    public const ulong AllZeroes = 0;

    /// <summary>No cluster: all bits are 1.</summary>
    public const ulong AllOnes = 1;

    private const ulong ReservedMask = 0xff00_0000_0000_01fe;
    private const ulong OffsetMask = 0x00ff_ffff_ffff_fe00;

    /// <returns>false if reserved bits are set, or the offset is not a cluster's</returns>
    public static bool IsValid(ulong raw, int clusterSize)
    {
        var offset = raw & OffsetMask;
        return (raw & ReservedMask) == 0 && offset % (uint)clusterSize == 0 && (offset == 0 || (raw & AllOnes) == 0);
    }

    /// <summary>Where the data is; 0 for an entry without a cluster.</summary>
    public static long OffsetOf(ulong raw) => (long)(raw & OffsetMask);
}
