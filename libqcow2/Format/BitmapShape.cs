namespace Qcow2Blk.Format;

/// <summary>How large a bitmap is.</summary>
/// <param name="DiskSize">bytes of the disk that it is of</param>
/// <param name="GranularityBits">one bit stands for 1 &lt;&lt; this many bytes</param>
internal readonly record struct BitmapShape(long DiskSize, int GranularityBits)
{
    /// <summary>One bit for each piece of the disk; the last piece may be cut short.</summary>
    public long Bits => (DiskSize >> GranularityBits) + ((DiskSize & ((1L << GranularityBits) - 1)) != 0 ? 1 : 0);

    public long Bytes => (Bits + 7) >> 3;

    /// <summary>Clusters of bitmap data, which is the number of entries in the table.</summary>
    public long Clusters(int clusterBits) => (Bytes + (1L << clusterBits) - 1) >> clusterBits;

    /// <summary>Why qemu makes no such bitmap; null if it does.</summary>
    public string? Refusal()
    {
        if (GranularityBits is < Limits.MinBitmapGranularityBits or > Limits.MaxBitmapGranularityBits)
            return $"granularity is not between {1L << Limits.MinBitmapGranularityBits} and {1L << Limits.MaxBitmapGranularityBits} bytes";
        return Bits > Limits.MaxNewBitmapBits
            ? $"a bitmap of {Bits} bits is too large, {Limits.MaxNewBitmapBits} is the limit"
            : null;
    }

    /// <summary>What qemu takes where nothing is said: the cluster size, within bounds.</summary>
    public static int DefaultGranularityBits(int clusterBits) => int.Clamp(clusterBits, 12, 16);
}
