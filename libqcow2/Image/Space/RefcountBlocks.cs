using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Tables;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Space;

/// <summary>How often each host cluster is used: refcount table in memory, slices of refcount blocks in the cache.</summary>
internal sealed class RefcountBlocks : SlicedTables
{
    private readonly Geometry _geometry;
    private readonly int _sliceShift;

    public RefcountBlocks(ImageContext context, MetadataTable table, SliceCache cache)
        : base(context, cache)
    {
        Table = table;
        _geometry = context.Geometry;
        _sliceShift = 3 + int.Log2(cache.SliceBytes) - _geometry.RefcountOrder;
    }

    public MetadataTable Table { get; }

    /// <summary>Refcounts in one slice.</summary>
    public int SliceEntries => 1 << _sliceShift;

    /// <summary>Entries of the table that the one in the file has room for.</summary>
    public int EntriesInFile { get; set; }

    /// <summary>Whether the header still points to a former table.</summary>
    public bool HeaderIsStale { get; set; }

    public long KeyOf(HostCluster cluster) => cluster.Number >> _sliceShift;

    public int IndexOf(HostCluster cluster) => (int)cluster.Number & (SliceEntries - 1);

    public int BlockOf(HostCluster cluster) => checked((int)(cluster.Number >> BlockShift));

    /// <summary>The first cluster that a slice counts.</summary>
    public HostCluster SliceStart(long key) => new(key << _sliceShift);

    /// <summary>The first cluster that a block counts.</summary>
    public HostCluster BlockStart(int block) => new((long)block << BlockShift);

    private int BlockShift => _geometry.ClusterBits + 3 - _geometry.RefcountOrder;

    public ulong Get(int slot, int index) => RefcountEntries.Get(Cache.Data(slot), index, _geometry.RefcountOrder);

    public void Set(int slot, HostCluster cluster, ulong value)
    {
        Invariant.Holds(Context.IsHome, "only the home loop changes refcounts", cluster.Number);
        Invariant.Holds(Cache.HasSlice(slot, KeyOf(cluster)), "a refcount is changed in the slice of its cluster", cluster.Number, slot);
        Invariant.Holds(value <= _geometry.RefcountMax, "a refcount has room for its value", cluster.Number, (long)value);
        RefcountEntries.Set(Cache.Data(slot), IndexOf(cluster), _geometry.RefcountOrder, value);
        Cache.MarkDirty(slot);
    }

    /// <summary>The refcount of a cluster if its slice is in memory, else null. For who only checks.</summary>
    public ulong? Peek(HostCluster cluster) => Cache.Peek(KeyOf(cluster)) is var slot and >= 0 ? Get(slot, IndexOf(cluster)) : null;

    /// <summary>The first refcount of 0 in the slice at or after <paramref name="index"/>, or -1.</summary>
    public int FindFree(int slot, int index) =>
        RefcountEntries.IndexOfZero(Cache.Data(slot), index, SliceEntries - index, _geometry.RefcountOrder);

    /// <summary>The refcount of a cluster.</summary>
    /// <returns>0 and more, or a negative errno</returns>
    public async LoopTask<long> GetAsync(HostCluster cluster)
    {
        var slot = await LoadAsync(KeyOf(cluster));
        if (slot == Absent)
            return 0;
        return slot < 0 ? slot : (long)Math.Min(Get(slot, IndexOf(cluster)), long.MaxValue);
    }

    /// <summary>One use less. A refcount of 0 means that the metadata is wrong.</summary>
    public async LoopTask<int> DecrementAsync(HostCluster cluster)
    {
        var slot = await LoadAsync(KeyOf(cluster));
        if (slot is < 0 and not Absent)
            return slot;
        var index = IndexOf(cluster);
        var count = slot == Absent ? 0 : Get(slot, index);
        if (count == 0)
            return Context.Corrupt($"cluster at {_geometry.StartOf(cluster)} is in use with refcount 0");
        Set(slot, cluster, count - 1);
        return 0;
    }

    public override void Dispose()
    {
        Table.Dispose();
        base.Dispose();
    }

    protected override long Locate(long key)
    {
        var block = key >> (BlockShift - _sliceShift);
        if (block >= Table.Entries)
            return 0;
        var raw = Table[(int)block];
        if (!RefcountTableEntry.TryDecode(raw, _geometry, out var offset))
            return Context.Corrupt($"refcount table entry {block} is 0x{raw:x}, which is not aligned to a cluster");
        if (offset.Value == 0)
            return 0;
        var slice = key & ((1L << (BlockShift - _sliceShift)) - 1);
        return offset.Value + (slice * Cache.SliceBytes);
    }
}
