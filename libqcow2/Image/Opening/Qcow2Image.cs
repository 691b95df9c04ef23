using System;
using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Change;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Data;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Tables;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Opening;

/// <summary>
/// An open qcow2 image as exports see it: checks each request and hands it to the part that carries it out. See
/// docs/architecture.md for the parts and their rules. Asynchronous members run on the home loop, the loop that opened the
/// image.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "closing is asynchronous: CloseAsync disposes of the parts")]
internal sealed partial class Qcow2Image : IDisk
{
    private readonly ImageContext _context;
    private readonly ImageOptions _options;
    private readonly GuestMap _map;
    private readonly GuestData _data;
    private readonly BitmapList _bitmaps;

    // Null when the image is only read.
    private readonly WritableParts? _writable;
    private volatile bool _closed;

    /// <param name="context">what the parts share</param>
    /// <param name="options">how the image is served</param>
    /// <param name="l1">the L1 table, of the active state or of a snapshot</param>
    /// <param name="refcountTable">null if the image is only read</param>
    /// <param name="backing">what is below; belongs to the image</param>
    /// <param name="size">bytes of the disk</param>
    internal Qcow2Image(ImageContext context, ImageOptions options, MetadataTable l1, MetadataTable? refcountTable, IDisk? backing,
        long size)
    {
        _context = context;
        _options = options;
        Backing = backing;
        Size = size;
        var geometry = context.Geometry;
        var slices = (size >> geometry.ClusterBits >> geometry.SliceBits) + 1;
        var l2Cache = new SliceCache(geometry.SliceBytes, options.CacheBytes, slices, options.ResidentCache);
        var space = refcountTable is null ? null : new SpaceParts(context, options, refcountTable, slices);
        var below = backing as Qcow2Image;
        var tables = new L2Tables(context, l1, l2Cache, space?.Allocator, space?.Frees);
        _map = new GuestMap(context, tables, backing, below?._map, size);
        _data = new GuestData(context, _map, below?._data);
        _bitmaps = new BitmapList(context, options, space?.Allocator, space?.Frees, space?.Refcounts);
        if (space is not null)
            _writable = new WritableParts(context, options, _map, _data, space, _bitmaps);
    }

    public long Size { get; }

    public bool ReadOnly => _writable is null;

    public long ClusterBytes => Header.ClusterSize;

    /// <summary>
    /// Bytes of the disk that a change of a long range covers before others have their turn: a power of two, whole slices.
    /// </summary>
    public long TurnBytes => (long)ZeroWrites.SlicesPerTurn << (_context.Geometry.SliceBits + _context.Geometry.ClusterBits);

    /// <summary>A long range may need many tables, whatever the file system does with the clusters.</summary>
    public bool TurnsMayGrow => false;

    /// <summary>Where the L2 tables of the disk are, in the order of the disk. Home loop.</summary>
    public IEnumerable<HostOffset> TableOffsets => _map.Tables.TableOffsets;

    public RequestEpochs Epochs => _context.Epochs;

    public Header Header => _context.Header;

    public IBlockStorage File => _context.File;

    public IDisk? Backing { get; }

    /// <summary>Why the image takes no more writes; null if it does.</summary>
    public string? WriteErrorReason => _context.WriteErrorReason;

    public long L2CacheHits => _map.Tables.Cache.Hits;

    public long L2CacheMisses => _map.Tables.Cache.Misses;

    /// <summary>Bytes the L2 cache may hold.</summary>
    public long L2CacheBytes => (long)_map.Tables.Cache.Capacity * _map.Tables.Cache.SliceBytes;

    /// <summary>Commits carried out since the image was opened.</summary>
    public long Commits => _writable?.Committer.Count ?? 0;

    /// <summary>The persistent bitmaps, as they were when the image was opened, or edited last. Any thread.</summary>
    public ImageBitmaps Bitmaps => _bitmaps.Found;

    /// <summary>Whether data was written since the last flush. Any loop.</summary>
    internal bool HasUnsyncedData => _context.HasUnsyncedData;

    /// <summary>Opens the image in <paramref name="file"/>: see <see cref="ImageOpener.OpenAsync"/>.</summary>
    public static LoopTask<Qcow2Image> OpenAsync(IBlockStorage file, ImageOptions options, IDisk? backing, IBlockStorage? data = null) =>
        ImageOpener.OpenAsync(file, options, backing, data);

    public bool TryMapRead(long offset, int length, out FileExtent extent) => _map.TryMapRead(new GuestOffset(offset), length, out extent);

    public bool TryMapZeroes(long offset, int length) => _map.TryMapZeroes(new GuestOffset(offset), length);

    public bool TryMapWrite(long offset, int length, out FileExtent extent)
    {
        if (_writable is { } writable)
            return writable.Changes.TryMapWrite(new GuestOffset(offset), length, out extent);
        extent = default;
        return false;
    }

    public void NoteDirectWrite() => _context.NoteData();

    /// <summary>
    /// Writes metadata down while nothing else is to be done, so that little is lost if the server is killed. No
    /// request waits for it, and a failure is told to the next flush.
    /// </summary>
    public void WriteBehindWhenIdle()
    {
        if (!_closed && _writable?.Committer is { HasDirtyMetadata: true, LastFailed: false } committer)
            committer.FlushAsync().Forget();
    }

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer) => CheckRange(offset, buffer.Length) is var refusal and < 0
        ? new LoopTask<int>(refusal)
        : _data.ReadAsync(new GuestOffset(offset), buffer);

    public async LoopTask<int> WriteAsync(long offset, NativeBuffer buffer, bool forceUnitAccess)
    {
        if (RefuseChange(offset, buffer.Length) is var refusal and < 0)
            return refusal;
        if (_options.DetectZeroes != DetectZeroes.Off && !buffer.Span.ContainsAnyExcept((byte)0))
        {
            var flags = _options.DetectZeroes == DetectZeroes.Unmap ? ZeroFlags.MayUnmap : ZeroFlags.None;
            return await WriteZeroesAsync(offset, buffer.Length, flags | (forceUnitAccess ? ZeroFlags.ForceUnitAccess : 0));
        }

        var error = await _writable!.Changes.WriteAsync(new GuestOffset(offset), buffer);
        return error == 0 && forceUnitAccess ? await FlushAsync() : error;
    }

    public async LoopTask<int> WriteZeroesAsync(long offset, long length, ZeroFlags flags)
    {
        if (RefuseChange(offset, length) is var refusal and < 0)
            return refusal;
        var error = await _writable!.Changes.WriteZeroesAsync(new GuestOffset(offset), length, flags);
        return error == 0 && (flags & ZeroFlags.ForceUnitAccess) != 0 ? await FlushAsync() : error;
    }

    public LoopTask<int> DiscardAsync(long offset, long length) => RefuseChange(offset, length) is var refusal and < 0
        ? new LoopTask<int>(refusal)
        : _writable!.Changes.DiscardAsync(new GuestOffset(offset), length);

    public LoopTask<int> FlushAsync() =>
        _closed ? new LoopTask<int>(-Errno.ESHUTDOWN) : _writable?.Committer.FlushAsync() ?? new LoopTask<int>(0);

    public LoopTask<DiskExtent> MapAsync(long offset, long length)
    {
        if (CheckRange(offset, length) is var refusal && (refusal < 0 || length == 0))
            return new LoopTask<DiskExtent>(new DiskExtent(refusal < 0 ? refusal : -Errno.EINVAL, 0, false, false, 0));
        return _map.MapAsync(new GuestOffset(offset), length);
    }

    public LoopTask<int> PrefetchAsync(long offset, long length) =>
        CheckRange(offset, length) is var refusal && (refusal < 0 || length == 0)
            ? new LoopTask<int>(refusal)
            : _map.PrefetchAsync(new GuestOffset(offset), length);

    /// <summary>The internal snapshots in the order of the image.</summary>
    /// <exception cref="ImageFormatException">the snapshot table is damaged</exception>
    /// <exception cref="System.IO.IOException">it cannot be read</exception>
    public async LoopTask<IReadOnlyList<SnapshotEntry>> ListSnapshotsAsync() =>
        (await ImageOpener.ReadSnapshotTableAsync(File, Header)).Entries;

    /// <summary>Something failed in a way that must not happen: what is in memory may be wrong. Any loop.</summary>
    public void Distrust(Exception error) => _context.Stop(new InvariantBreach($"{error.GetType().Name}: {error.Message}"));

    /// <summary>Begins to log what is not committed, and replays what a dead server left. Before the first request.</summary>
    /// <param name="left">what that server left; belongs to the image from now on</param>
    /// <returns>0, or a negative errno</returns>
    internal async LoopTask<int> StartAsync(Log.RecoveryLog? left)
    {
        try
        {
            // The bitmaps first: what is replayed was recorded in them before.
            var error = await _bitmaps.LoadAsync(left: _options.Replay);
            if (error < 0 || _writable is not { } writable)
                return error;
            error = await LogStart.RunAsync(_context, _options, _map, writable.Replay, left);
            _bitmaps.BindShadow();
            return error;
        }
        catch
        {
            await AbandonAsync();
            throw;
        }
    }

    /// <summary>Opening failed half-way: what is in memory is never written. The file and the backing image stay the caller's.</summary>
    internal async LoopTask<int> AbandonAsync()
    {
        _context.Abandon();
        await DrainAsync();
        FreeMemory();
        return 0;
    }

    public async LoopTask<int> CloseAsync()
    {
        if (_closed)
            return -Errno.ESHUTDOWN;
        var error = await CloseThisAsync();
        for (var below = Backing; below is not null; below = (below as Qcow2Image)?.Backing)
            await (below is Qcow2Image image ? image.CloseThisAsync() : below.CloseAsync());
        return error;
    }

    /// <summary>Closes one image of the chain and leaves those below it open.</summary>
    private async LoopTask<int> CloseThisAsync()
    {
        int error;
        try
        {
            await EndRequestsAsync();
            error = await EndPendingSnapshotAsync();
            if (error == 0 && _writable is not null)
                error = await _writable.SettleAsync();
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
            _map.Tables.Cache.ForgetKeys();
        }

        await DrainAsync();

        // Direct transfers that other loops began before the map was closed to them.
        await Epochs.WaitForQuietAsync();
        FreeMemory();
        if (!ReferenceEquals(_context.Data, File))
            _context.Data.Dispose();
        File.Dispose();
        return error;
    }

    /// <summary>
    /// Refuses what comes from now on and waits for what is in progress, on all loops; then nobody finds a mapping any more.
    /// The lock-free readers pay nothing for it: they miss, as they do when a slice is not cached.
    /// </summary>
    private async LoopTask<int> EndRequestsAsync()
    {
        _closed = true;
        _map.Close();
        _writable?.Preparation.Close();
        if (_writable is not null)
            await _writable.Changes.WaitForEndAsync();
        await Epochs.WaitForQuietAsync();
        _map.Tables.Cache.ForgetKeys();
        Invariant.Holds(_context.IsHome, "only the home loop closes an image");
        Invariant.Holds(_writable?.Changes.AreOver ?? true, "no cluster is locked once every request has ended");
        return 0;
    }

    private async LoopTask<int> DrainAsync()
    {
        _closed = true;
        _map.Close();

        // Whatever went wrong: nothing is freed while something is still written from it.
        if (_writable is not null)
            await _writable.DrainAsync();

        // What another loop has met, if its message has not come yet.
        _context.MarkCorruptIfDue();
        return await _context.HeaderBlock.DrainAsync();
    }

    private void FreeMemory()
    {
        var log = _context.Log;
        _context.Log = null;
        log?.Dispose();
        _data.Dispose();
        _bitmaps.Dispose();
        _writable?.Dispose();
        _map.Tables.Dispose();
        _context.HeaderBlock.Dispose();
    }

    private int RefuseChange(long offset, long length)
    {
        if (CheckRange(offset, length) is var refusal and < 0)
            return refusal;
        return ReadOnly ? -Errno.EPERM : _context.WriteError;
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
