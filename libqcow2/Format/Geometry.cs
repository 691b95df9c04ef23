using System;
using System.Runtime.CompilerServices;

namespace Qcow2Blk.Format;

/// <summary>The numbers that follow from an image's header and turn guest offsets into table indices.</summary>
internal readonly struct Geometry
{
    /// <summary>Bytes of an L2 slice, the unit in which L2 tables are cached; a whole table if clusters are smaller.</summary>
    public const int MaxSliceBytes = 4096;

    /// <summary>Subclusters of a cluster in an image with extended L2 entries.</summary>
    public const int ExtendedSubclusters = 32;

    public Geometry(Header header)
        : this(header.ClusterBits, header.Size, header.Version, header.RefcountOrder,
            header.Incompatible.HasFlag(IncompatibleFeatures.ExtendedL2), header.Incompatible.HasFlag(IncompatibleFeatures.DataFile))
    {
    }

    /// <param name="clusterBits">log2 of the bytes of a cluster</param>
    /// <param name="size">bytes of the disk as the header has them</param>
    /// <param name="version">2 or 3</param>
    /// <param name="refcountOrder">log2 of the bits of a refcount</param>
    /// <param name="extendedL2">whether L2 entries have a subcluster allocation bitmap</param>
    /// <param name="dataFile">whether guest clusters are in an external data file</param>
    public Geometry(int clusterBits, long size, int version = 3, int refcountOrder = 4, bool extendedL2 = false, bool dataFile = false)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(clusterBits, Limits.MinClusterBits);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(clusterBits, Limits.MaxClusterBits);
        ArgumentOutOfRangeException.ThrowIfNegative(size);
        ArgumentOutOfRangeException.ThrowIfNegative(refcountOrder);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(refcountOrder, Limits.MaxRefcountOrder);
        ClusterBits = clusterBits;
        ClusterSize = 1 << clusterBits;
        ClusterMask = ClusterSize - 1;
        HasExtendedL2 = extendedL2;
        HasDataFile = dataFile;
        var entryBits = extendedL2 ? 4 : 3;
        SubclusterBits = extendedL2 ? clusterBits - 5 : clusterBits;
        L2Bits = clusterBits - entryBits;
        SliceBytes = Math.Min(MaxSliceBytes, ClusterSize);
        SliceBits = Math.Min(12, clusterBits) - entryBits;
        DiskSize = Rounding.Down(size, 512);
        Version = version;
        RefcountOrder = refcountOrder;
        RefcountMax = RefcountEntries.Max(refcountOrder);
        CompressedShift = 62 - (clusterBits - 8);
        CompressedOffsetMask = (1UL << CompressedShift) - 1;
        CompressedSectorsMask = (1UL << (clusterBits - 8)) - 1;
    }

    public int ClusterBits { get; }

    /// <summary>Bytes of a cluster.</summary>
    public int ClusterSize { get; }

    /// <summary>The bits of an offset that lie within a cluster.</summary>
    public long ClusterMask { get; }

    /// <summary>Whether an L2 entry has 16 bytes and says of each of 32 subclusters where it is.</summary>
    public bool HasExtendedL2 { get; }

    /// <summary>Whether guest clusters are in an external data file, each where it is on the disk.</summary>
    public bool HasDataFile { get; }

    /// <summary>Log2 of the bytes of a subcluster; of a cluster in an image without extended L2 entries.</summary>
    public int SubclusterBits { get; }

    /// <summary>Bytes of a subcluster, the smallest piece of the disk that has a place, or none, of its own.</summary>
    public int SubclusterSize => 1 << SubclusterBits;

    /// <summary>1, or 32 in an image with extended L2 entries.</summary>
    public int SubclustersPerCluster => 1 << (ClusterBits - SubclusterBits);

    /// <summary>Bytes of an L2 entry.</summary>
    public int L2EntryBytes => HasExtendedL2 ? 16 : 8;

    /// <summary>Log2 of the entries in an L2 table.</summary>
    public int L2Bits { get; }

    public int L2Entries => 1 << L2Bits;

    /// <summary>Log2 of the entries in an L2 slice.</summary>
    public int SliceBits { get; }

    public int SliceBytes { get; }

    public int SliceEntries => 1 << SliceBits;

    public int SlicesPerL2 => 1 << (L2Bits - SliceBits);

    /// <summary>Bytes of the disk as a guest sees it: the header's size without a part sector at its end, as qemu has it.</summary>
    public long DiskSize { get; }

    /// <summary>2 or 3.</summary>
    public int Version { get; }

    /// <summary>A refcount has 1 &lt;&lt; order bits.</summary>
    public int RefcountOrder { get; }

    /// <summary>Refcounts in a refcount block, which is one cluster.</summary>
    public int RefcountBlockEntries => 1 << (ClusterBits + 3 - RefcountOrder);

    /// <summary>The largest refcount that can be stored.</summary>
    public ulong RefcountMax { get; }

    /// <summary>"x" of the specification's compressed descriptor: 62 - (cluster_bits - 8).</summary>
    public int CompressedShift { get; }

    /// <summary>Bits 0 to x - 1 of a compressed descriptor: the host byte offset.</summary>
    public ulong CompressedOffsetMask { get; }

    /// <summary>Bits x to 61, shifted down: the number of additional 512-byte sectors.</summary>
    public ulong CompressedSectorsMask { get; }

    /// <summary>Clusters of the disk, the last one perhaps partial.</summary>
    public long GuestClusters => (DiskSize + ClusterMask) >> ClusterBits;

    /// <summary>Which subcluster of its cluster holds an offset on the disk; 0 without extended L2 entries.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Subcluster(GuestOffset offset) => (int)(Within(offset) >> SubclusterBits);

    /// <summary>How far into its cluster an offset is.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long Within(GuestOffset offset) => offset.Value & ClusterMask;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public GuestCluster ClusterOf(GuestOffset offset) => new(offset.Value >> ClusterBits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public HostCluster ClusterOf(HostOffset offset) => new(offset.Value >> ClusterBits);

    /// <summary>Where on the disk a cluster begins.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public GuestOffset StartOf(GuestCluster cluster) => new(cluster.Number << ClusterBits);

    /// <summary>Where in the file a cluster begins.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public HostOffset StartOf(HostCluster cluster) => new(cluster.Number << ClusterBits);

    /// <summary>The L1 entry of a guest cluster. The cluster must be on a disk whose L1 table was accepted.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int L1Index(GuestCluster cluster) => (int)(cluster.Number >> L2Bits);

    /// <summary>The entry of a guest cluster in its L2 table.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int L2Index(GuestCluster cluster) => (int)cluster.Number & ((1 << L2Bits) - 1);

    /// <summary>Which slice of its L2 table an entry is in.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int SliceIndex(int l2Index) => l2Index >> SliceBits;

    /// <summary>The place of an L2 entry in its slice.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int IndexInSlice(int l2Index) => l2Index & ((1 << SliceBits) - 1);
}
