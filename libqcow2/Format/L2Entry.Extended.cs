using System.Numerics;
using System.Runtime.CompilerServices;

namespace Qcow2Blk.Format;

/// <summary>Entries of images with extended L2 entries (specification, "Extended L2 Entries").</summary>
internal readonly partial struct L2Entry
{
    /// <summary>All subclusters in one half of the bitmap.</summary>
    public const uint AllSubclusters = uint.MaxValue;

    /// <summary>Whether the cluster has a place of its own in the file, used for data or kept.</summary>
    public bool HasHost => Kind is L2Kind.Data or L2Kind.ZeroAllocated;

    /// <summary>Decodes an entry of any image.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L2Entry Decode(in StoredL2Entry stored, in Geometry geometry) =>
        geometry.HasExtendedL2 ? DecodeExtended(stored, geometry) : Decode(stored.Descriptor, geometry);

    /// <summary>The low half of the bitmap: which subclusters are in the host cluster.</summary>
    public static uint AllocatedOf(ulong bitmap) => (uint)bitmap;

    /// <summary>The high half of the bitmap: which subclusters read as zeroes.</summary>
    public static uint ZeroesOf(ulong bitmap) => (uint)(bitmap >> 32);

    /// <summary>The subcluster allocation bitmap.</summary>
    public static ulong EncodeBitmap(uint allocated, uint zeroes) => allocated | ((ulong)zeroes << 32);

    /// <summary>
    /// As <see cref="HasReservedBits(ulong, in Geometry)"/>: bit 0 of the descriptor is reserved too, and so is the bitmap of a
    /// compressed cluster.
    /// </summary>
    public static bool HasReservedBits(in StoredL2Entry stored, in Geometry geometry)
    {
        if (HasReservedBits(stored.Descriptor, geometry))
            return true;
        var compressed = (stored.Descriptor & CompressedFlag) != 0;
        return geometry.HasExtendedL2 && (compressed ? stored.Bitmap != 0 : (stored.Descriptor & ZeroFlag) != 0);
    }

    /// <summary>What a subcluster is. Without extended L2 entries there is one, and it is what the cluster is.</summary>
    /// <param name="subcluster">0 to 31; 0 without extended L2 entries</param>
    /// <param name="geometry">of the image that the entry is from</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public L2Kind KindAt(int subcluster, in Geometry geometry) =>
        geometry.HasExtendedL2 && Kind is L2Kind.Data or L2Kind.Unallocated ? ExtendedKindAt(subcluster, geometry) : Kind;

    /// <summary>How many subclusters from this one on are of its kind.</summary>
    public int RunAt(int subcluster, in Geometry geometry)
    {
        var left = geometry.SubclustersPerCluster - subcluster;
        if (!geometry.HasExtendedL2 || Kind is not (L2Kind.Data or L2Kind.Unallocated))
            return left;
        var alike = KindAt(subcluster, geometry) switch
        {
            L2Kind.Data => Allocated,
            L2Kind.Zero or L2Kind.ZeroAllocated => Zeroes,
            _ => ~(Allocated | Zeroes),
        };
        return int.Min(left, BitOperations.TrailingZeroCount(~(alike >> subcluster)));
    }

    private L2Kind ExtendedKindAt(int subcluster, in Geometry geometry)
    {
        if (!geometry.HasExtendedL2)
            return Kind;
        var bit = 1u << subcluster;
        if ((Zeroes & bit) != 0)
            return HasHost ? L2Kind.ZeroAllocated : L2Kind.Zero;
        return (Allocated & bit) != 0 ? L2Kind.Data : L2Kind.Unallocated;
    }

    private static L2Entry DecodeExtended(in StoredL2Entry stored, in Geometry geometry)
    {
        var raw = stored.Descriptor;
        if ((raw & CompressedFlag) != 0)
            return DecodeCompressed(raw, geometry);
        var host = raw & OffsetMask;
        var (allocated, zeroes) = (AllocatedOf(stored.Bitmap), ZeroesOf(stored.Bitmap));
        var hasHost = host != 0 || IsStartOfDataFile(raw, geometry);
        var copied = (raw & CopiedFlag) != 0;
        if ((allocated & zeroes) != 0 || (allocated != 0 && !hasHost) || (host & (ulong)geometry.ClusterMask) != 0)
            return new L2Entry(L2Kind.Invalid, host, copied, 0, allocated, zeroes);
        return new L2Entry(
            hasHost ? L2Kind.Data : L2Kind.Unallocated, host, copied && hasHost, 0, allocated, zeroes);
    }
}
