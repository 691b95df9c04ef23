using System;
using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Change;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Data;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Image.Tables;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Opening;

/// <summary>
/// An open qcow2 image: maps guest ranges to the file, allocates, copies on write, frees, and commits metadata in
/// an order that survives power loss. See docs/architecture.md for the rules. Asynchronous members run on the
/// home loop, the loop that opened the image.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "closing is asynchronous: CloseAsync disposes of the parts")]
internal sealed partial class Qcow2Image : IDisk
{
    private readonly ImageContext _context;
    private readonly ImageOptions _options;
    private readonly IBlockStorage _file;
    private readonly Geometry _geometry;
    private readonly L2Tables _tables;
    private readonly CompressedClusters _compressed;
    private readonly IDisk? _backing;
    private readonly DataHoles _holes;

    // Null when the image is only read.
    private readonly RefcountBlocks? _refcounts;
    private readonly Allocator? _allocator;
    private readonly FreeQueue? _frees;
    private readonly Committer? _committer;

    private readonly ClusterLocks _locks = new();
    private readonly RequestCount _changes = new();
    private volatile bool _closed;

    private Qcow2Image(ImageContext context, ImageOptions options, MetadataTable l1, MetadataTable? refcountTable, IDisk? backing,
        long size)
    {
        _context = context;
        _options = options;
        _file = context.File;
        _geometry = context.Geometry;
        _backing = backing;
        _holes = new DataHoles(_file, _geometry);
        _layers = 1 + ((backing as Qcow2Image)?._layers ?? 0);
        _smallestSlice = Math.Min(1L << (_geometry.SliceBits + _geometry.ClusterBits), (backing as Qcow2Image)?._smallestSlice
            ?? long.MaxValue);
        _turns = new WriteTurns(context.Epochs);
        Size = size;
        ReadOnly = refcountTable is null;
        var slices = (size >> _geometry.ClusterBits >> _geometry.SliceBits) + 1;
        var l2Cache = new SliceCache(_geometry.SliceBytes, options.CacheBytes, slices, options.ResidentCache);
        if (refcountTable is not null)
        {
            var counted = (_file.Length >> _geometry.ClusterBits << _geometry.RefcountOrder >> 3) / _geometry.SliceBytes;
            var refcountCache = new SliceCache(_geometry.SliceBytes, Math.Max(options.CacheBytes / 4, 64 * 1024),
                Math.Max(slices, counted) + 1, options.ResidentCache);
            _refcounts = new RefcountBlocks(context, refcountTable, refcountCache) { EntriesInFile = refcountTable.Entries };
            _frees = new FreeQueue(context, _refcounts, options.Discard == DiscardMode.Unmap);
            _allocator = new Allocator(context, _refcounts, _frees, _file.HasFixedLength);
            _frees.Freed = _allocator.NoteFree;
        }

        _bitmapSpace = new BitmapSpace(context, options, _allocator, _frees);
        _bitmapSet = new BitmapSet(_bitmapSpace);
        _tables = new L2Tables(context, l1, l2Cache, _allocator, _frees);
        _compressed = new CompressedClusters(context);
        if (refcountTable is not null)
        {
            _committer = new Committer(context, _refcounts!, _tables, _frees!);
            context.Commit = _committer.FlushAsync;
        }
    }

    public long Size { get; }

    public bool ReadOnly { get; }

    public long ClusterBytes => Header.ClusterSize;

    /// <summary>A long range may need many tables, whatever the file system does with the clusters.</summary>
    public bool TurnsMayGrow => false;

    public RequestEpochs Epochs => _context.Epochs;

    public Header Header => _context.Header;

    public IBlockStorage File => _file;

    public IDisk? Backing => _backing;

    /// <summary>Why the image takes no more writes; null if it does.</summary>
    public string? WriteErrorReason => _context.WriteErrorReason;

    public long L2CacheHits => _tables.Cache.Hits;

    public long L2CacheMisses => _tables.Cache.Misses;

    /// <summary>Bytes the L2 cache may hold.</summary>
    public long L2CacheBytes => (long)_tables.Cache.Capacity * _tables.Cache.SliceBytes;

    /// <summary>Commits carried out since the image was opened.</summary>
    public long Commits => _committer?.Count ?? 0;

    public LoopTask<int> FlushAsync() => _closed ? new LoopTask<int>(-Errno.ESHUTDOWN) : _committer?.FlushAsync() ?? new LoopTask<int>(0);

    /// <summary>
    /// Writes metadata down while nothing else is to be done, so that little is lost if the server is killed. No
    /// request waits for it, and a failure is told to the next flush.
    /// </summary>
    public void WriteBehindWhenIdle()
    {
        if (!_closed && _committer is { HasDirtyMetadata: true, LastFailed: false })
            _committer.FlushAsync().Forget();
    }

    /// <summary>Whether data was written since the last flush. Any loop.</summary>
    internal bool HasUnsyncedData => _context.HasUnsyncedData;

    /// <summary>Something failed in a way that must not happen: what is in memory may be wrong. Any loop.</summary>
    public void Distrust(Exception error) => _context.Stop(new InvariantBreach($"{error.GetType().Name}: {error.Message}"));

    /// <summary>The internal snapshots in the order of the image.</summary>
    /// <exception cref="ImageFormatException">the snapshot table is damaged</exception>
    /// <exception cref="System.IO.IOException">it cannot be read</exception>
    public async LoopTask<IReadOnlyList<SnapshotEntry>> ListSnapshotsAsync() => (await ReadSnapshotTableAsync(_file, Header)).Entries;

    public void NoteDirectWrite() => _context.NoteData();

    /// <summary>
    /// Refuses what comes from now on and waits for what is in progress, on all loops; then nobody finds a mapping any more.
    /// The lock-free readers pay nothing for it: they miss, as they do when a slice is not cached.
    /// </summary>
    private async LoopTask<int> EndRequestsAsync()
    {
        _closed = true;
        _writePrepared = false;
        await _changes.WaitForEndAsync();
        await Epochs.WaitForQuietAsync();
        _tables.Cache.ForgetKeys();
        Invariant.Holds(_context.IsHome, "only the home loop closes an image");
        Invariant.Holds(_changes.IsZero && _locks.IsEmpty, "no cluster is locked once every request has ended");
        return 0;
    }

    private async LoopTask<int> DrainAsync()
    {
        _closed = true;

        // Whatever went wrong: nothing is freed while something is still written from it.
        if (_committer is not null)
            await _committer.DrainAsync();
        if (_frees is not null)
            await _frees.DrainAsync();

        // What another loop has met, if its message has not come yet.
        _context.MarkCorruptIfDue();
        return await _context.HeaderBlock.DrainAsync();
    }

    private void FreeMemory()
    {
        _context.Log = null;
        _log?.Dispose();
        _compressed.Dispose();
        _bitmapSet.Dispose();
        _committer?.Dispose();
        _tables.Dispose();
        _refcounts?.Dispose();
        _context.HeaderBlock.Dispose();
    }

    /// <summary>Commits until nothing is left: what a commit frees needs one more for the lower refcounts.</summary>
    private async LoopTask<int> SettleAsync()
    {
        var error = await CommitAllAsync();
        if (error == 0)
            error = await StoreBitmapsAsync();
        if (error < 0)
            return error;
        error = await _allocator!.TrimFileAsync();
        if (error == 0)
            error = await UnmarkAsync();
        if (error == 0 && _options.RecoveryLog is { } log)
            ShadowFile.Remove(log);
        return error;
    }

    /// <summary>
    /// Refuses everything once the image is being closed, and a range that is not on the disk; exports check first, so this is
    /// for callers of the library.
    /// </summary>
    private int CheckRange(long offset, long length)
    {
        if (_closed)
            return -Errno.ESHUTDOWN;
        return offset < 0 || length < 0 || offset > Size - length ? -Errno.EINVAL : 0;
    }
}
