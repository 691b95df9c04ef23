using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Image.Tables;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Commit;

/// <summary>
/// Brings an image's metadata to disk in the order that keeps it consistent: refcount blocks and data, sync;
/// refcount table, sync; L2 slices and L1, sync. Flushes that come together share one commit.
/// </summary>
internal sealed class Committer : IDisposable
{
    // What was freed can only be used again after a commit: with this much waiting, one is due.
    private const long LargestUnpublished = 64 << 20;
    private const long LargestDirty = 64 << 20;

    /// <summary>
    /// Space that was freed is the file system's again within a second, whether or not the client flushes: half of it is for
    /// the commit itself, the requests that must end first, and the hole punches.
    /// </summary>
    private const int FreedPatienceMilliseconds = 500;

    private readonly SliceImage _refcountSlices = new();
    private readonly SliceImage _refcountTable = new();
    private readonly SliceImage _l2Slices = new();
    private readonly SliceImage _l1Table = new();
    private readonly WaitQueue _idle = new();
    private readonly ImageContext _context;
    private readonly RefcountBlocks _refcounts;
    private readonly L2Tables _tables;
    private readonly FreeQueue _frees;
    private ManualSource<int>? _waiters;
    private bool _running;
    private bool _committing;
    private bool _freedWatched;
    private long _tableOffset;
    private int _tableClusters;

    public Committer(ImageContext context, RefcountBlocks refcounts, L2Tables tables, FreeQueue frees)
    {
        _context = context;
        _refcounts = refcounts;
        _tables = tables;
        _frees = frees;
    }

    /// <summary>Commits that were carried out.</summary>
    public long Count { get; private set; }

    /// <summary>Whether the last commit failed: then it is for a flush to try again, and to be told.</summary>
    public bool LastFailed { get; private set; }

    public bool IsClean =>
        !_committing && !HasDirtyMetadata && !_context.HasUnsyncedData && !_frees.NeedsCommit;

    public bool HasDirtyMetadata =>
        _refcounts.Cache.DirtyCount > 0 || _tables.Cache.DirtyCount > 0 || _tables.L1.IsDirty
        || _refcounts.Table.IsDirtyBelow(_refcounts.EntriesInFile);

    /// <summary>Everything changed before the call is on disk when this returns 0.</summary>
    public LoopTask<int> FlushAsync()
    {
        if (_context.WriteError != 0)
            return new LoopTask<int>(_context.WriteError);
        if (IsClean)
            return new LoopTask<int>(0);
        var waiter = ManualSource<int>.Rent();
        waiter.Next = _waiters;
        _waiters = waiter;
        if (!_running)
        {
            _running = true;
            RunAsync().Forget();
        }

        return waiter.Task;
    }

    /// <summary>Completes when no commit is under way: only then may what it writes from be freed.</summary>
    public async LoopTask<int> DrainAsync()
    {
        while (_running)
            await _idle.WaitAsync();
        return 0;
    }

    /// <summary>
    /// Starts writing in the background when much has become dirty, or a while after something was freed; nobody waits for it.
    /// </summary>
    public void WriteBehind()
    {
        if (_context.WriteError != 0)
            return;
        if (_frees.NeedsCommit && !_freedWatched)
            CommitFreedAsync().Forget();
        if (_running)
            return;
        if (_frees.UnpublishedClusters << _context.Geometry.ClusterBits > LargestUnpublished
            || IsMuch(_tables.Cache)
            || _context.Log is { IsFilling: true }
            || IsMuch(_refcounts.Cache))
        {
            FlushAsync().Forget();
        }
    }

    /// <summary>A loop that is never idle would else keep freed space until the client flushes, or much has come together.</summary>
    private async LoopTask<int> CommitFreedAsync()
    {
        _freedWatched = true;
        await LoopScheduler.Current.DelayAsync(FreedPatienceMilliseconds);
        _freedWatched = false;

        // A commit that failed is for a flush to try again: so nothing happens here once the image was closed, whether that
        // succeeded or not. What is freed while this commit runs starts the next wait.
        if (_frees.NeedsCommit && !LastFailed && _context.WriteError == 0)
            await FlushAsync();
        return 0;
    }

    // Half the cache, so that there is room for what is loaded meanwhile; and no more than is quickly copied and written.
    private static bool IsMuch(SliceCache cache) =>
        cache.DirtyCount * 2 > cache.Capacity || (long)cache.DirtyCount * cache.SliceBytes > LargestDirty;

    public void Dispose()
    {
        _refcountSlices.Dispose();
        _refcountTable.Dispose();
        _l2Slices.Dispose();
        _l1Table.Dispose();
    }

    private async LoopTask<int> RunAsync()
    {
        while (_waiters is not null)
        {
            var waiters = _waiters;
            _waiters = null;
            _committing = true;
            var error = _context.WriteError != 0 ? _context.WriteError : await CommitAsync();

            // Before anybody hears of it: who goes on now must not take this commit for one still under way.
            _committing = false;
            while (waiters is not null)
            {
                var waiter = waiters;
                waiters = waiter.Next;
                waiter.Next = null;
                waiter.SetResult(error);
            }
        }

        _running = false;
        _idle.WakeAll();
        return 0;
    }

    private async LoopTask<int> CommitAsync()
    {
        Count++;
        var headerIsStale = _refcounts.HeaderIsStale;
        int error;
        try
        {
            var dataWritten = Capture(headerIsStale);
            error = await WriteRefcountsAsync(headerIsStale, dataWritten);

            // A sync that failed elsewhere meanwhile, or corruption found: then nothing may be published any more.
            if (error == 0)
                error = _context.WriteError;
            if (error == 0)
                error = await WriteTablesAsync();
            Captured(error == 0, headerIsStale);
        }
        catch (InvariantBreach breach)
        {
            // What was captured is never written, and what it was captured from stays in memory, for reads.
            error = _context.Stop(breach);
        }

        LastFailed = error < 0;
        return error;
    }

    /// <summary>Copies what is dirty at this instant; what changes from here on goes with the next commit.</summary>
    private bool Capture(bool headerIsStale)
    {
        Invariant.Holds(_context.IsHome, "only the home loop commits");
        Invariant.Holds(
            _refcountSlices.Count + _refcountTable.Count + _l2Slices.Count + _l1Table.Count == 0,
            "a commit begins when the one before has ended",
            Count);
        _context.Log?.Capture();
        _frees.Capture();
        _refcounts.Cache.CaptureInto(_refcountSlices);
        _refcounts.Table.CaptureInto(_refcountTable, _refcounts.EntriesInFile);
        _tables.Cache.CaptureInto(_l2Slices);
        _tables.L1.CaptureInto(_l1Table, _tables.L1.Entries);
        _tableOffset = _refcounts.Table.HostOffset;
        _tableClusters = _refcounts.EntriesInFile * sizeof(ulong) / _context.Geometry.ClusterSize;
        if (headerIsStale)
            _refcounts.HeaderIsStale = false;
        return _context.TakeDataWritten();
    }

    private async LoopTask<int> WriteRefcountsAsync(bool headerIsStale, bool dataWritten)
    {
        var error = await _refcountSlices.WriteAsync(_context.File);

        // A table with a new place is written whole before the header points to it.
        if (error == 0 && headerIsStale)
            error = await _refcountTable.WriteAsync(_context.File);
        if (error == 0 && (dataWritten || _refcountSlices.Count > 0 || headerIsStale))
            error = await SyncAsync(dataWritten);
        if (error < 0)
        {
            if (dataWritten)
                _context.NoteData();
            return error;
        }

        // The refcounts are down: what the table, or the header, will point to is there.
        Invariant.Holds(_refcountSlices.IsDurable, "a refcount table is written when the blocks it points to are on disk", Count);
        if (headerIsStale)
            return await _context.HeaderBlock.SetRefcountTableAsync(new HostOffset(_tableOffset), _tableClusters);
        if (_refcountTable.Count == 0)
            return 0;
        error = await _refcountTable.WriteAsync(_context.File);
        return error < 0 ? error : await SyncAsync(data: false);
    }

    private async LoopTask<int> WriteTablesAsync()
    {
        if (_l2Slices.Count == 0 && _l1Table.Count == 0)
            return 0;
        Invariant.Holds(_refcountSlices.IsDurable, "no L2 slice is written before the refcounts of what it points to are on disk", Count);
        Invariant.Holds(_refcountTable.IsDurable, "no L2 slice is written before the refcount table is on disk", Count);
        Invariant.Holds(_context.WriteError == 0, "nothing is published once writing has stopped", Count);
        var error = await _l2Slices.WriteAsync(_context.File);
        if (error == 0)
            error = await _l1Table.WriteAsync(_context.File);
        return error < 0 ? error : await SyncAsync(data: false);
    }

    private async LoopTask<int> SyncAsync(bool data)
    {
        var error = await _context.SyncAsync(data);
        if (error < 0)
            return error;

        _refcountSlices.Synced();
        _refcountTable.Synced();
        _l2Slices.Synced();
        _l1Table.Synced();
        return 0;
    }

    private void Captured(bool succeeded, bool headerIsStale)
    {
        if (succeeded)
            Invariant.Holds(_l2Slices.IsDurable && _l1Table.IsDurable, "a commit has ended when all of it survives power loss", Count);
        _refcounts.Cache.Written(_refcountSlices, succeeded);
        _tables.Cache.Written(_l2Slices, succeeded);
        if (!succeeded)
        {
            _refcounts.Table.Recapture(_refcountTable);
            _tables.L1.Recapture(_l1Table);
            _refcounts.HeaderIsStale |= headerIsStale;
        }

        // Before anything that was freed can be used for something else.
        _context.Log?.Captured(succeeded);
        _frees.Captured(succeeded);
        _refcountSlices.Clear();
        _refcountTable.Clear();
        _l2Slices.Clear();
        _l1Table.Clear();
    }
}
