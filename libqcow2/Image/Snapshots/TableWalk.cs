using System;
using System.Buffers.Binary;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>What is done with each cluster that an L1 table reaches.</summary>
internal enum WalkKind
{
    /// <summary>One use more; it is not COPIED any more.</summary>
    Share,

    /// <summary>One use less.</summary>
    Drop,

    /// <summary>It is COPIED exactly if its refcount is 1.</summary>
    Flag,
}

/// <summary>
/// Walks from an L1 table over its L2 tables to everything that they point to, in the file: all that was changed of them in memory
/// is committed, and nobody changes them. One L2 table at a time is in memory, however large the disk.
/// </summary>
internal sealed class TableWalk(ImageContext context, RefcountBlocks refcounts, FreeQueue frees, WalkKind kind)
{
    private const long Done = -1;
    private const long Wrong = -2;

    private readonly Geometry _geometry = context.Geometry;
    private readonly int _words = context.Geometry.L2EntryBytes / sizeof(ulong);
    private NativeBuffer _table;
    private int _index;
    private int _part;
    private int _slot;
    private long _key = -1;
    private bool _changed;
    private bool _tableIsShared;
    private long _left;

    /// <summary>Uses that were counted: after a failure, how many <see cref="WalkKind.Drop"/> has to take back.</summary>
    public long Count { get; private set; }

    /// <summary>Why the walk ended early, if not by an errno.</summary>
    public string? Refusal { get; private set; }

    /// <summary>Told which L2 table was changed in the file: index in the L1 table, content.</summary>
    public Action<int, NativeBuffer>? Changed { get; init; }

    /// <summary>Of the first table that is not empty, the entry to begin with: what is before it stays in use.</summary>
    public int FirstEntry { get; set; }

    /// <summary>Whether others have their turn after each table; null: nobody uses the disk. Returns whether to go on.</summary>
    public Func<bool>? GoesOn { get; init; }

    /// <param name="l1">entries in host byte order; their COPIED flags follow, but the caller writes them</param>
    /// <param name="limit">uses to count at most</param>
    /// <returns>0, or a negative errno: see <see cref="Refusal"/></returns>
    public async LoopTask<int> RunAsync(ulong[] l1, long limit = long.MaxValue)
    {
        var pool = LoopScheduler.Current.Buffers;
        _table = pool.Rent(_geometry.ClusterSize);
        _left = limit;
        try
        {
            for (var index = 0; index < l1.Length && _left > 0; index++)
            {
                var entry = L1Entry.Decode(l1[index]);
                if (entry.IsEmpty)
                    continue;
                var error = await VisitTableAsync(l1, index, entry);
                if (error < 0)
                    return error;
                if (GoesOn is null)
                    continue;
                await LoopScheduler.Current.DelayAsync(0);
                if (!GoesOn())
                    return -Errno.ECANCELED;
            }

            return 0;
        }
        finally
        {
            pool.Return(_table);
        }
    }

    private async LoopTask<int> VisitTableAsync(ulong[] l1, int index, L1Entry entry)
    {
        var offset = entry.Offset.Value;
        if (!entry.IsAligned(_geometry) || offset + _geometry.ClusterSize > Rounding.Up(context.File.Length, _geometry.ClusterSize))
            return Refuse($"L1 entry {index} points to an L2 table at {entry.Offset}, which is not one");
        var error = await context.File.ReadAsync(offset, _table);
        if (error < 0)
            return error;

        // The table itself, then what it points to.
        var cluster = _geometry.ClusterOf(entry.Offset);
        _slot = await refcounts.LoadAsync(refcounts.KeyOf(cluster));
        _key = _slot < 0 ? -1 : refcounts.KeyOf(cluster);
        if (_slot < 0)
            return _slot == SlicedTables.Absent ? Refuse($"cluster at {entry.Offset} is in use with refcount 0") : _slot;
        if (!TryVisit(cluster, out var copied))
            return Refuse(null);
        _tableIsShared = !copied;
        l1[index] = L1Entry.Encode(entry.Offset, kind != WalkKind.Drop && copied);
        error = await VisitEntriesAsync();
        if (error < 0 || !_changed)
            return error;
        error = await context.File.WriteAsync(offset, _table);
        if (error < 0)
            return error;
        context.NoteData();
        Changed?.Invoke(index, _table);
        return 0;
    }

    private async LoopTask<int> VisitEntriesAsync()
    {
        (_index, _part, _changed, FirstEntry) = (FirstEntry, 0, false, 0);

        // The clusters of an external data file are counted nowhere.
        while (!_geometry.HasDataFile)
        {
            var number = Advance();
            if (number == Done)
                return 0;
            if (number == Wrong)
                return Refuse(null);
            var cluster = new HostCluster(number);
            _slot = await refcounts.LoadAsync(refcounts.KeyOf(cluster));
            if (_slot == SlicedTables.Absent)
                return Refuse($"cluster at {_geometry.StartOf(cluster)} is in use with refcount 0");
            if (_slot < 0)
                return _slot;
            _key = refcounts.KeyOf(cluster);
        }

        return 0;
    }

    /// <summary>Goes on as far as the slice of refcounts at hand reaches.</summary>
    /// <returns>the number of the cluster whose slice is needed, or one of the constants</returns>
    private long Advance()
    {
        var words = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(_table.Span);
        for (; _index < _geometry.L2Entries; _index++, _part = 0)
        {
            var descriptor = BinaryPrimitives.ReverseEndianness(words[_index * _words]);
            var bitmap = _words == 1 ? 0 : BinaryPrimitives.ReverseEndianness(words[(_index * _words) + 1]);
            if ((descriptor | bitmap) == 0)
                continue;
            var entry = L2Entry.Decode(new StoredL2Entry(descriptor, bitmap), _geometry);
            if (entry.Kind == L2Kind.Invalid)
            {
                Refuse($"L2 entry 0x{descriptor:x} is not valid");
                return Wrong;
            }

            if (!entry.HasHost && entry.Kind != L2Kind.Compressed)
                continue;
            var first = _geometry.ClusterOf(entry.Host);
            var last = entry.HasHost ? first : _geometry.ClusterOf(entry.Host + (entry.CompressedLength - 1));
            for (var cluster = first + _part; cluster <= last; cluster++, _part++)
            {
                if (_left == 0)
                    return Done;
                if (refcounts.KeyOf(cluster) != _key)
                    return cluster.Number;
                if (context.Metadata!.Contains(_geometry.StartOf(cluster)))
                {
                    Refuse($"L2 entry 0x{descriptor:x} points to metadata");
                    return Wrong;
                }

                if (!TryVisit(cluster, out var copied))
                    return Wrong;
                if (!entry.HasHost || kind == WalkKind.Drop)
                    continue;
                var wanted = (descriptor & ~L2Entry.CopiedFlag) | (copied && !_tableIsShared ? L2Entry.CopiedFlag : 0);
                if (wanted == descriptor)
                    continue;
                words[_index * _words] = BinaryPrimitives.ReverseEndianness(wanted);
                _changed = true;
            }
        }

        return Done;
    }

    /// <summary>The slice of the cluster is at hand.</summary>
    /// <param name="cluster">in use</param>
    /// <param name="copied">whether its refcount is 1 now</param>
    private bool TryVisit(HostCluster cluster, out bool copied)
    {
        var count = refcounts.Get(_slot, refcounts.IndexOf(cluster));
        copied = kind == WalkKind.Flag && count == 1;
        if (count == 0)
        {
            Refuse($"cluster at {_geometry.StartOf(cluster)} is in use with refcount 0");
            return false;
        }

        if (kind == WalkKind.Flag)
            return true;
        if (kind == WalkKind.Share && count == _geometry.RefcountMax)
        {
            Refuse($"cluster at {_geometry.StartOf(cluster)} has refcount {count},"
                + $" and {1 << _geometry.RefcountOrder} bits hold no larger one");
            return false;
        }

        if (kind == WalkKind.Share)
            refcounts.Set(_slot, cluster, count + 1);
        else if (count > 1)
            refcounts.Set(_slot, cluster, count - 1);
        else
            frees.Add(cluster, 1); // Others may have the last use of it later: it is free when this is committed.
        Count++;
        _left--;
        return true;
    }

    private int Refuse(string? why)
    {
        Refusal ??= why;
        return -Errno.EIO;
    }
}
