using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Space;

/// <summary>Host clusters that were allocated together.</summary>
/// <param name="Error">0, or a negative errno; nothing else is valid then</param>
/// <param name="Offset">where the run begins in the file</param>
/// <param name="Clusters">its length</param>
/// <param name="Fresh">whether the clusters were never written and read as zeroes</param>
internal readonly record struct HostRun(int Error, HostOffset Offset, int Clusters, bool Fresh)
{
    /// <summary>When they were allocated, for the log.</summary>
    public LogTime Taken { get; init; }

    /// <param name="error">a negative errno</param>
    public static HostRun Failed(int error) => new(error, default, 0, false);
}

/// <summary>
/// Hands out host clusters: the first free ones at or after a cursor that moves back when clusters are freed.
/// A cluster handed out has refcount 1 in memory; the commit that publishes it writes the refcount first.
/// </summary>
internal sealed partial class Allocator
{
    // The file grows ahead of need by an eighth of its size within these bounds; what is left over is cut off at close.
    private const long MinimumGrowth = 1 << 20;
    private const long MaximumGrowth = 64 << 20;

    private readonly AsyncLock _lock = new();
    private readonly ImageContext _context;
    private readonly RefcountBlocks _refcounts;
    private readonly FreeQueue _frees;
    private readonly Geometry _geometry;
    private readonly bool _fixedLength;
    private readonly long _initialLength;
    private HostCluster _cursor;
    private long _freshFrom;
    private long _grownTo;
    private bool _freedMeanwhile;

    /// <param name="context">the image</param>
    /// <param name="refcounts">its refcounts</param>
    /// <param name="frees">takes the clusters of a replaced refcount table</param>
    /// <param name="fixedLength">whether the file cannot grow (a block device)</param>
    public Allocator(ImageContext context, RefcountBlocks refcounts, FreeQueue frees, bool fixedLength)
    {
        _context = context;
        _refcounts = refcounts;
        _frees = frees;
        _geometry = context.Geometry;
        _fixedLength = fixedLength;
        _initialLength = context.File.Length;

        // What lies past the end of the file was never written; on a device every byte may have been.
        _freshFrom = fixedLength ? long.MaxValue : Rounding.Up(_initialLength, _geometry.ClusterSize);
    }

    /// <summary>Up to <paramref name="count"/> adjacent clusters, at least one.</summary>
    public async LoopTask<HostRun> AllocateAsync(int count)
    {
        await _lock.EnterAsync();
        HostRun run;
        try
        {
            run = await FindRunAsync(count);
        }
        catch (InvariantBreach breach)
        {
            run = HostRun.Failed(_context.Stop(breach));
        }

        _lock.Exit();
        return run;
    }

    /// <summary>Gives back clusters that nothing points to yet.</summary>
    public async LoopTask<int> ReleaseAsync(HostRun run)
    {
        Invariant.Holds(run is { Error: 0, Clusters: > 0 }, "only what was allocated is given back", run.Offset.Value, run.Clusters);
        var first = _geometry.ClusterOf(run.Offset);
        for (var cluster = first; cluster < first + run.Clusters; cluster++)
        {
            var error = await _refcounts.DecrementAsync(cluster);
            if (error < 0)
                return error; // Leaked, which is allowed; the request that failed has its own error.
        }

        NoteFree(first, run.Clusters);
        return 0;
    }

    /// <summary>Clusters became free. They were written, so they are not fresh, wherever they lie.</summary>
    public void NoteFree(HostCluster first, long count)
    {
        _cursor = first < _cursor ? first : _cursor;
        _freedMeanwhile = true;
        _context.Log?.NoteFree(first, count);
        if (!_fixedLength)
            _freshFrom = Math.Max(_freshFrom, _geometry.StartOf(first + count).Value);
    }

    /// <summary>Cuts off what the file grew ahead of need, as far as no cluster in it is used.</summary>
    public async LoopTask<int> TrimFileAsync()
    {
        // Only what this allocator has made: a write through a damaged image's far pointer may have made it longer.
        if (_grownTo == 0 || _context.File.Length != _grownTo)
            return 0;
        var needed = Math.Max(_initialLength, _freshFrom);
        var cluster = _geometry.ClusterOf(new HostOffset(_context.File.Length - 1));

        // A damaged image may use clusters past its former end: those were perhaps written, and stay. The growth ahead
        // of need bounds the search.
        for (; _geometry.StartOf(cluster).Value >= needed; cluster--)
        {
            var count = await _refcounts.GetAsync(cluster);
            if (count < 0)
                return (int)count;
            if (count > 0)
                return 0;
        }

        return needed < _context.File.Length ? await _context.File.SetLengthAsync(needed) : 0;
    }

    /// <summary>Finds free clusters, makes refcount blocks where there are none, and takes the clusters.</summary>
    private async LoopTask<HostRun> FindRunAsync(int count)
    {
        var cluster = _cursor;
        _freedMeanwhile = false;
        var wrapped = false;
        while (true)
        {
            if (_fixedLength && _geometry.StartOf(cluster + 1).Value > _context.File.Length)
            {
                if (wrapped)
                    return HostRun.Failed(-Errno.ENOSPC);
                (wrapped, cluster) = (true, default);
            }

            // What the table in the file cannot say may only be used by the table that replaces it.
            var error = _refcounts.BlockOf(cluster) < _refcounts.EntriesInFile ? 0 : await GrowTableAsync(_refcounts.BlockOf(cluster));
            if (error < 0)
                return HostRun.Failed(error);
            var slot = await _refcounts.LoadAsync(_refcounts.KeyOf(cluster));
            if (slot == SlicedTables.Absent)
            {
                error = await MakeBlockAsync(cluster);
                if (error < 0)
                    return HostRun.Failed(error);
                continue;
            }

            if (slot < 0)
                return HostRun.Failed(slot);
            var index = _refcounts.FindFree(slot, _refcounts.IndexOf(cluster));
            if (index < 0)
            {
                cluster = _refcounts.SliceStart(_refcounts.KeyOf(cluster) + 1);
                continue;
            }

            cluster = _refcounts.SliceStart(_refcounts.KeyOf(cluster)) + index;
            var length = FreeLength(slot, index, count);
            if (_fixedLength)
                length = (int)Math.Min(length, _geometry.ClusterOf(new HostOffset(_context.File.Length)) - cluster);
            if (length <= 0)
            {
                cluster++;
                continue;
            }

            return await TakeAsync(slot, cluster, length);
        }
    }

    private int FreeLength(int slot, int index, int count)
    {
        var length = 1;
        while (length < count && index + length < _refcounts.SliceEntries && _refcounts.Get(slot, index + length) == 0)
            length++;
        return length;
    }

    /// <summary>The clusters are free and their slice is loaded: from here to the refcounts nothing is awaited.</summary>
    private async LoopTask<HostRun> TakeAsync(int slot, HostCluster cluster, int count)
    {
        Invariant.Holds(
            cluster.Number > 0 && count > 0, "what is allocated is at least one cluster, and not the header", cluster.Number, count);
        var offset = _geometry.StartOf(cluster);
        var end = _geometry.StartOf(cluster + count).Value;
        if (end > Limits.MaxHostOffset)
            return HostRun.Failed(-Errno.EFBIG);
        for (var i = 0; i < count; i++)
        {
            var here = _geometry.StartOf(cluster + i);
            if (_context.Metadata!.Contains(here))
                return HostRun.Failed(_context.Corrupt($"metadata at {here} has refcount 0"));
        }

        for (var i = 0; i < count; i++)
        {
            var refcount = _refcounts.Get(slot, _refcounts.IndexOf(cluster + i));
            Invariant.Holds(refcount == 0, "only a cluster that nobody uses is allocated", (cluster + i).Number, (long)refcount);
            Invariant.Holds(
                !Invariant.Thorough || !_frees.IsQueued(cluster + i),
                "a cluster is not allocated before all that freed it is done", (cluster + i).Number);
            _refcounts.Set(slot, cluster + i, 1);
        }

        var taken = _context.Log?.NoteTaken(cluster, count) ?? default;

        // Unless something was freed below meanwhile: that must stay in reach.
        if (!_freedMeanwhile)
            _cursor = cluster + count;
        var fresh = offset.Value >= _freshFrom;
        if (!_fixedLength)
            _freshFrom = Math.Max(_freshFrom, end);
        var run = new HostRun(0, offset, count, fresh) { Taken = taken };
        if (end <= _context.File.Length || _fixedLength)
            return run;
        var error = await GrowFileAsync(end);
        if (error == 0)
            return run;
        await ReleaseAsync(run);
        return HostRun.Failed(error);
    }

    private async LoopTask<int> GrowFileAsync(long end)
    {
        var growth = Math.Clamp(_context.File.Length / 8, MinimumGrowth, MaximumGrowth);

        // Not into the middle of a block: the last cluster is being written, perhaps, when the file grows again.
        var unit = Math.Max(_geometry.ClusterSize, _context.File.BlockBytes);
        var error = await _context.File.SetLengthAsync(Rounding.Down(end + growth, unit));
        if (error < 0)
            error = await _context.File.SetLengthAsync(end);
        if (error == 0)
            _grownTo = _context.File.Length;
        return error;
    }

    /// <summary>
    /// Makes the refcount block that covers <paramref name="cluster"/>, in that very cluster: it is free, as no
    /// block says otherwise, and the new block counts itself.
    /// </summary>
    private async LoopTask<int> MakeBlockAsync(HostCluster cluster)
    {
        var offset = _geometry.StartOf(cluster);
        if (_context.Metadata!.Contains(offset))
            return _context.Corrupt($"metadata at {offset} has no refcount block");
        var end = offset.Value + _geometry.ClusterSize;
        var fresh = offset.Value >= _freshFrom;
        var error = await ReserveAsync(end);
        if (error < 0)
            return error;
        error = fresh ? 0 : await _context.File.ZeroAsync(offset.Value, _geometry.ClusterSize);
        if (error == 0)
            error = await WriteOwnCountAsync(cluster);
        if (error < 0)
            return error;
        _context.NoteData();
        var former = _refcounts.Table[_refcounts.BlockOf(cluster)];
        Invariant.Holds(former == 0, "a refcount block is made only where there is none", cluster.Number, (long)former);
        Invariant.Holds(
            _refcounts.BlockOf(cluster) < _refcounts.EntriesInFile, "a refcount block is one that the table in the file can name",
            cluster.Number);
        _context.RequireInFile(offset, 1);
        _context.Metadata!.Add(offset);
        _refcounts.Table[_refcounts.BlockOf(cluster)] = (ulong)offset.Value;
        return 0;
    }

    /// <summary>
    /// Writes the slice of a new block that counts the block itself. It must be in the file before the table points
    /// there: a commit may take its copy of the table at any moment after that.
    /// </summary>
    private async LoopTask<int> WriteOwnCountAsync(HostCluster block)
    {
        var sliceBytes = _refcounts.Cache.SliceBytes;
        var pool = LoopScheduler.Current.Buffers;
        var slice = pool.Rent(sliceBytes);
        slice.Clear();
        RefcountEntries.Set(slice.Span, _refcounts.IndexOf(block), _geometry.RefcountOrder, 1);
        var inBlock = _refcounts.KeyOf(block) & ((_geometry.ClusterSize / sliceBytes) - 1);
        var error = await _context.File.WriteAsync(_geometry.StartOf(block).Value + (inBlock * sliceBytes), slice);
        pool.Return(slice);
        return error;
    }
}
