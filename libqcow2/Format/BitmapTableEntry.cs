namespace Qcow2Blk.Format;

/// <summary>An entry of a bitmap table (specification, "Bitmap table"): where a cluster of bits is.</summary>
internal static class BitmapTableEntry
{
    /// <summary>Bits 1 to 8 and 56 to 63: "reserved and must be zero".</summary>
    private const ulong ReservedMask = 0xff00_0000_0000_01fe;

    /// <summary>Bits 9 to 55.</summary>
    private const ulong OffsetMask = 0x00ff_ffff_ffff_fe00;

    /// <summary>Bit 0: all bits are ones; "if there is an offset, reserved".</summary>
    public const ulong AllOnes = 1;

    /// <summary>No cluster: all bits are 0.</summary>
    public const ulong AllZeroes = 0;

    /// <summary>Where the data is; 0 for an entry without a cluster.</summary>
    public static long OffsetOf(ulong raw) => (long)(raw & OffsetMask);

    /// <param name="raw">the entry in host byte order</param>
    /// <param name="clusterSize">of the image</param>
    /// <param name="data">where the bits are; 0: all zeroes, or all ones</param>
    /// <returns>false: corrupt</returns>
    public static bool TryDecode(ulong raw, int clusterSize, out HostOffset data)
    {
        data = new HostOffset((long)(raw & OffsetMask));
        return (raw & ReservedMask) == 0 && (data.Value & (clusterSize - 1)) == 0 && (data.Value == 0 || (raw & AllOnes) == 0);
    }
}
