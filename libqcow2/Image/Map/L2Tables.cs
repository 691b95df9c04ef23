using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Image.Tables;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Map;

/// <summary>The guest-to-host map: L1 table in memory, slices of L2 tables in the cache.</summary>
internal sealed class L2Tables : SlicedTables
{
    // As it is in the file.
    private static readonly ulong s_copied = BinaryPrimitives.ReverseEndianness(L2Entry.CopiedFlag);

    private readonly AsyncLock _tableLock = new();
    private readonly Allocator? _allocator;
    private readonly FreeQueue? _frees;
    private readonly Geometry _geometry;

    /// <param name="context">the image</param>
    /// <param name="l1">the L1 table: the active one or that of a snapshot</param>
    /// <param name="cache">for slices of L2 tables</param>
    /// <param name="allocator">null if the image is only read</param>
    /// <param name="frees">null if the image is only read</param>
    public L2Tables(ImageContext context, MetadataTable l1, SliceCache cache, Allocator? allocator, FreeQueue? frees)
        : base(context, cache)
    {
        L1 = l1;
        _allocator = allocator;
        _frees = frees;
        _geometry = context.Geometry;
    }

    public MetadataTable L1 { get; }

    /// <summary>Where the tables are; what L1 says of that is checked when one is used. Home loop.</summary>
    public IEnumerable<HostOffset> TableOffsets
    {
        get
        {
            for (var index = 0; index < L1.Entries; index++)
            {
                var entry = L1Entry.Decode(L1[index]);
                if (!entry.IsEmpty)
                    yield return entry.Offset;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long KeyOf(GuestCluster cluster) => cluster.Number >> _geometry.SliceBits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int IndexOf(GuestCluster cluster) => (int)cluster.Number & (_geometry.SliceEntries - 1);

    /// <summary>The first cluster behind those that the slice of a cluster maps.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public GuestCluster SliceEnd(GuestCluster cluster) => new((KeyOf(cluster) + 1) << _geometry.SliceBits);

    /// <summary>The entry of a cluster as it is stored.</summary>
    public StoredL2Entry Stored(int slot, GuestCluster guestCluster)
    {
        // It holds only until something is awaited: then another slice may be there.
        if (Invariant.Thorough)
        {
            Invariant.Holds(
                Cache.Shows(slot, KeyOf(guestCluster)), "an L2 entry is read from the slice of its cluster", guestCluster.Number, slot);
        }

        return StoredAt(slot, IndexOf(guestCluster));
    }

    public L2Entry Entry(int slot, GuestCluster guestCluster) => L2Entry.Decode(Stored(slot, guestCluster), _geometry);

    /// <summary>Changes the mapping of one cluster in memory; the next commit writes it.</summary>
    /// <param name="slot">of the slice</param>
    /// <param name="guestCluster">whose entry</param>
    /// <param name="entry">what it becomes</param>
    /// <param name="taken">when the host cluster in it was allocated; default for one that the entry had before, or none</param>
    public void Set(int slot, GuestCluster guestCluster, in StoredL2Entry entry, LogTime taken = default)
    {
        Invariant.Holds(Context.IsHome, "only the home loop changes the mapping", guestCluster.Number);
        Invariant.Holds(
            Cache.HasSlice(slot, KeyOf(guestCluster)), "an L2 entry is changed in the slice of its cluster", guestCluster.Number, slot);
        Invariant.Holds(
            L2Entry.Decode(entry, _geometry).Kind != L2Kind.Invalid,
            "an L2 entry that is set can be read again", guestCluster.Number, (long)entry.Descriptor);

        // First the log: as soon as other loops see the entry, they may write in place and answer.
        Context.Log?.Append(guestCluster, Stored(slot, guestCluster), entry, taken);
        if (Invariant.Thorough)
        {
            Invariant.Holds(
                Context.Log?.EndsWith(guestCluster, entry) ?? true, "an entry is in the log before anybody sees it", guestCluster.Number);
        }

        var descriptor = BinaryPrimitives.ReverseEndianness(entry.Descriptor);
        if (_geometry.HasExtendedL2)
            Cache.WritePair(slot, IndexOf(guestCluster), descriptor, BinaryPrimitives.ReverseEndianness(entry.Bitmap));
        else
            Cache.Write(slot, IndexOf(guestCluster), descriptor);
    }

    /// <summary>Reads the descriptor of an image without extended L2 entries, without a lock. Any loop.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryReadDescriptor(GuestCluster guestCluster, out ulong descriptor)
    {
        var found = Cache.TryRead(KeyOf(guestCluster), IndexOf(guestCluster), out descriptor);
        descriptor = BinaryPrimitives.ReverseEndianness(descriptor);
        return found;
    }

    /// <summary>Reads a whole entry without a lock. Any loop.</summary>
    public bool TryRead(GuestCluster guestCluster, out L2Entry entry)
    {
        ulong descriptor, bitmap = 0;
        var found = _geometry.HasExtendedL2
            ? Cache.TryReadPair(KeyOf(guestCluster), IndexOf(guestCluster), out descriptor, out bitmap)
            : Cache.TryRead(KeyOf(guestCluster), IndexOf(guestCluster), out descriptor);
        entry = found
            ? L2Entry.Decode(
                new StoredL2Entry(BinaryPrimitives.ReverseEndianness(descriptor), BinaryPrimitives.ReverseEndianness(bitmap)), _geometry)
            : default;
        return found;
    }

    /// <summary>Whether the image has no L2 table for the cluster. Any loop: L1 entries are read whole.</summary>
    public bool HasNoTable(GuestCluster guestCluster)
    {
        var index = L1IndexOf(KeyOf(guestCluster));
        return index >= L1.Entries || L1Entry.Decode(L1[index]).IsEmpty;
    }

    /// <summary>As <see cref="SlicedTables.LoadAsync"/>, with an L2 table that may be changed: new, or copied if it was shared.</summary>
    public LoopTask<int> LoadForWriteAsync(long key)
    {
        var l1 = L1Entry.Decode(L1[L1IndexOf(key)]);
        return l1 is { IsEmpty: false, Copied: true } ? LoadAsync(key) : MakeWritableAsync(key);
    }

    /// <summary>
    /// From now on no table is the active state's alone, nor anything that one points to: the first change of a table copies it, and
    /// nothing is written in place. All is committed, and nobody uses the disk.
    /// </summary>
    /// <returns>the L1 table as it is now: what its tables say does not change any more</returns>
    public ulong[] Share()
    {
        Invariant.Holds(Cache.DirtyCount == 0 && !L1.IsDirty, "tables that are shared are in the file as they are", Cache.DirtyCount);
        var entries = new ulong[L1.Entries];
        for (var index = 0; index < entries.Length; index++)
        {
            var entry = L1Entry.Decode(L1[index]);
            if (entry is { IsEmpty: false, Copied: true })
                L1[index] = L1Entry.Encode(entry.Offset, copied: false);
            entries[index] = L1[index];
        }

        Cache.TakeBits(s_copied, _geometry.L2EntryBytes / sizeof(ulong));
        return entries;
    }

    public override void Dispose()
    {
        L1.Dispose();
        base.Dispose();
    }

    protected override long Locate(long key)
    {
        var index = L1IndexOf(key);
        if (index >= L1.Entries)
            return 0;
        var l1 = L1Entry.Decode(L1[index]);
        if (l1.IsEmpty)
            return 0;
        if (!l1.IsAligned(_geometry))
            return Context.Corrupt($"L1 entry {index} points to an L2 table at {l1.Offset}, which is not aligned to a cluster");
        return l1.Offset.Value + ((key & (_geometry.SlicesPerL2 - 1)) * _geometry.SliceBytes);
    }

    /// <summary>
    /// No entry of an image that is written may point into metadata: a write in place would destroy it. In an external data file
    /// a cluster is where it is on the disk. What a shared table points to is shared, whatever its entries say: while a snapshot is
    /// being made, their flags in the file are still to be cleared.
    /// </summary>
    protected override void Check(int slot, long key, long hostOffset)
    {
        if (Context.Metadata is not { } metadata)
            return;
        if (!_geometry.HasDataFile && (!L1Entry.Decode(L1[L1IndexOf(key)]).Copied || Locate(key) != hostOffset))
            Cache.TakeBits(slot, s_copied, _geometry.L2EntryBytes / sizeof(ulong));
        for (var index = 0; index < _geometry.SliceEntries; index++)
        {
            var stored = StoredAt(slot, index);
            if (stored.IsEmpty || L2Entry.Decode(stored, _geometry) is not { HasHost: true } entry)
                continue;
            var cluster = new GuestCluster((key << _geometry.SliceBits) + index);
            if (_geometry.HasDataFile)
            {
                if (IsMisplaced(entry, cluster))
                    Context.Corrupt($"guest cluster {cluster} is mapped to {entry.Host} of the data file, not to where it is on the disk");
            }
            else if (metadata.Contains(entry.Host))
            {
                Context.Corrupt($"guest cluster {cluster} is mapped to metadata at {entry.Host}");
            }
        }
    }

    /// <summary>Whether an entry of an image with a data file points elsewhere than to where its cluster is on the disk.</summary>
    public bool IsMisplaced(in L2Entry entry, GuestCluster guestCluster) =>
        _geometry.HasDataFile && entry.HasHost && entry.Host.Value != _geometry.StartOf(guestCluster).Value;

    private StoredL2Entry StoredAt(int slot, int index) => _geometry.HasExtendedL2
        ? new StoredL2Entry(
            BinaryPrimitives.ReverseEndianness(Cache.Read(slot, index * 2)),
            BinaryPrimitives.ReverseEndianness(Cache.Read(slot, (index * 2) + 1)))
        : new StoredL2Entry(BinaryPrimitives.ReverseEndianness(Cache.Read(slot, index)));

    private int L1IndexOf(long key) => checked((int)(key >> (_geometry.L2Bits - _geometry.SliceBits)));

    private async LoopTask<int> MakeWritableAsync(long key)
    {
        var index = L1IndexOf(key);
        await _tableLock.EnterAsync();
        int error;
        try
        {
            var l1 = L1Entry.Decode(L1[index]);
            error = l1 is { IsEmpty: false, Copied: true } ? 0 : await ReplaceTableAsync(key, index, l1);
        }
        catch (InvariantBreach breach)
        {
            error = Context.Stop(breach);
        }

        _tableLock.Exit();
        return error < 0 ? error : await LoadAsync(key);
    }

    /// <summary>
    /// Allocates a table, fills it on disk (zeroes, or a copy of the shared one), and only then points L1 to it.
    /// </summary>
    private async LoopTask<int> ReplaceTableAsync(long key, int index, L1Entry old)
    {
        if (Locate(key) < 0)
            return -Errno.EIO;
        var run = await _allocator!.AllocateAsync(1);
        if (run.Error < 0)
            return run.Error;
        int error;
        if (old.IsEmpty)
            error = run.Fresh ? 0 : await Context.File.ZeroAsync(run.Offset.Value, _geometry.ClusterSize);
        else
            error = await CopyClusterAsync(old.Offset, run.Offset);
        if (error < 0)
        {
            await _allocator.ReleaseAsync(run);
            return error;
        }

        Context.NoteData();
        Invariant.Holds(Context.IsHome, "only the home loop changes the L1 table", index);
        Invariant.Holds(L1Entry.Decode(L1[index]) == old, "an L2 table is replaced by one task at a time", index);
        Invariant.Holds(!old.Copied, "an L2 table is replaced only if it is shared, or there is none", index);
        Context.RequireInFile(run.Offset, 1);
        Context.Metadata!.Add(run.Offset);
        var raw = L1Entry.Encode(run.Offset, copied: true);
        Context.Log?.AppendL1(index, L1[index], raw);
        L1[index] = raw;
        if (old.IsEmpty)
            return 0;
        var first = (long)index << (_geometry.L2Bits - _geometry.SliceBits);
        for (var slice = 0; slice < _geometry.SlicesPerL2; slice++)
            Cache.Move(first + slice, run.Offset.Value + ((long)slice * _geometry.SliceBytes));
        Context.Metadata.Remove(old.Offset);
        _frees!.Add(_geometry.ClusterOf(old.Offset), 1);
        return 0;
    }

    private async LoopTask<int> CopyClusterAsync(HostOffset from, HostOffset to)
    {
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(_geometry.ClusterSize);
        var error = await Context.File.ReadAsync(from.Value, buffer);
        if (!_geometry.HasDataFile)
            TakeCopied(buffer.Span);
        if (error == 0)
            error = await Context.File.WriteAsync(to.Value, buffer);
        pool.Return(buffer);
        return error;
    }

    /// <summary>Two tables point to all of it now. The flags of one that a snapshot is being made of may be there still.</summary>
    private void TakeCopied(Span<byte> table)
    {
        var words = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(table);
        for (var index = 0; index < words.Length; index += _geometry.L2EntryBytes / sizeof(ulong))
            words[index] &= ~s_copied;
    }
}
