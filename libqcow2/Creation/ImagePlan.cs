using System;
using System.Numerics;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Creation;

/// <summary>Where everything of a new image will be. Nothing is written yet.</summary>
internal sealed class ImagePlan
{
    private readonly CreateOptions _options;
    private readonly long _encryptionClusters;

    private ImagePlan(CreateOptions options, long size, long encryptionBytes, int refcountTableClusters)
    {
        _options = options;
        Size = size;
        ClusterBits = BitOperations.Log2((uint)options.ClusterSize);
        RefcountOrder = BitOperations.Log2((uint)options.RefcountBits);
        RefcountTableClusters = refcountTableClusters;
        _encryptionClusters = Rounding.Up(encryptionBytes, ClusterSize) >> ClusterBits;
        L2EntryBits = options.ExtendedL2 ? 4 : 3;
        L1Size = L1Entries(size);
        Clusters = new ClusterAllocation(ClusterBits, RefcountOrder);
    }

    /// <summary>Bytes of the disk, a multiple of 512.</summary>
    public long Size { get; }

    public int ClusterBits { get; }

    public int ClusterSize => 1 << ClusterBits;

    public int RefcountOrder { get; }

    public int RefcountTableClusters { get; }

    /// <summary>Log2 of the bytes of an L2 entry.</summary>
    public int L2EntryBits { get; }

    public int L1Size { get; }

    /// <summary>The first cluster of the L1 table; 0 if there is none.</summary>
    public long L1Table { get; private set; }

    /// <summary>The first cluster of the encryption header; 0 if there is none.</summary>
    public long EncryptionHeader { get; private set; }

    /// <summary>
    /// The L2 table of each L1 entry, and the first of its clusters with data, which are neighbours; empty without preallocation.
    /// </summary>
    public (long Table, long Data)[] L2Tables { get; private set; } = [];

    public ClusterAllocation Clusters { get; }

    /// <summary>Clusters of the disk.</summary>
    public long GuestClusters => Rounding.Up(Size, ClusterSize) >> ClusterBits;

    public int EntriesOfL2Table => 1 << (ClusterBits - L2EntryBits);

    /// <summary>Bytes of the file. A table at its end is not filled up, nor is a cluster with subclusters.</summary>
    public long FileLength
    {
        get
        {
            var end = Clusters.End << ClusterBits;
            var partial = Math.Max(L1End, DataEnd);
            return Rounding.Up(partial, ClusterSize) == end ? partial : end;
        }
    }

    private long L1End => (L1Table << ClusterBits) + (long)L1Size * sizeof(ulong);

    private long DataEnd => L2Tables.Length == 0 || _options.DataFile is not null || !_options.ExtendedL2 ? 0
        : (L2Tables[^1].Data << ClusterBits) + Size - ((long)(L1Size - 1) * EntriesOfL2Table << ClusterBits);

    /// <summary>Whether clusters have their places from the start.</summary>
    public static bool Preallocates(CreateOptions options) => options.Preallocation != PreallocationMode.Off || options.DataFileRaw;

    /// <param name="options">what the image is to be</param>
    /// <param name="size">bytes of the disk, a multiple of 512</param>
    /// <param name="encryptionBytes">bytes of the encryption header; 0 for none</param>
    /// <exception cref="OutcomeException">the image would be too large</exception>
    public static ImagePlan Make(CreateOptions options, long size, long encryptionBytes)
    {
        // The refcount table has its final size from the start; how many clusters there are depends on it, if little.
        for (var tableClusters = 1L; ;)
        {
            var plan = new ImagePlan(options, size, encryptionBytes, (int)tableClusters);
            plan.Place();
            var blocks = (plan.Clusters.End - 1 >> (plan.ClusterBits + 3 - plan.RefcountOrder)) + 1;
            var needed = Rounding.Up(blocks * sizeof(ulong), plan.ClusterSize) >> plan.ClusterBits;
            if (needed <= tableClusters)
                return plan;
            if (needed << plan.ClusterBits > Limits.MaxRefcountTableBytes)
            {
                throw TooLarge(options, $"its refcount table would have {needed << plan.ClusterBits} bytes, at most"
                    + $" {Limits.MaxRefcountTableBytes}");
            }

            tableClusters = needed;
        }
    }

    private static OutcomeException TooLarge(CreateOptions options, string why) =>
        new(OutcomeKind.Invalid, $"cannot create {options.Image}", why, "larger clusters reach further");

    private int L1Entries(long size)
    {
        var reach = 2 * ClusterBits - L2EntryBits;
        var entries = size == 0 ? 0 : ((size - 1) >> reach) + 1;
        return entries <= Limits.MaxL1Entries ? (int)entries : throw TooLarge(_options,
            $"a disk of {size} bytes is too large, clusters of {ClusterSize} bytes reach {(UInt128)Limits.MaxL1Entries << reach}");
    }

    private void Place()
    {
        Clusters.Start(RefcountTableClusters);
        if (L1Size > 0)
            L1Table = Clusters.Take(Rounding.Up((long)L1Size * sizeof(ulong), ClusterSize) >> ClusterBits);
        if (Preallocates(_options))
            PlaceData();
        if (_encryptionClusters > 0)
            EncryptionHeader = Clusters.Take(_encryptionClusters);
    }

    private void PlaceData()
    {
        L2Tables = new (long, long)[L1Size];
        var left = GuestClusters;
        var guest = 0L;
        for (var i = 0; i < L1Size; i++)
        {
            var count = Math.Min(left, EntriesOfL2Table);
            var table = Clusters.Take(1);
            L2Tables[i] = (table, _options.DataFile is null ? Clusters.Take(count) : guest);
            left -= count;
            guest += count;
        }
    }
}
