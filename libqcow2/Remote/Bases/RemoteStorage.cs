using System;
using System.Diagnostics.CodeAnalysis;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// A base in a store, as a file that is only read: what the cache has comes from there, the rest from the source, by the
/// chunk. Transfers of what is cached go straight to the file of the cache, on any loop; all else is the home loop's.
/// </summary>
internal sealed class RemoteStorage : IBlockStorage
{
    private readonly IChunkCache? _cache;
    private readonly IChunkProof? _proof;
    private readonly SourcePool _sources;
    private readonly ChunkFetcher _fetcher;
    private readonly CachedReads? _direct;
    private readonly ReadAhead _readAhead = new();
    private readonly TraceRecorder? _recorder;
    private readonly BackgroundFill? _fill;
    private readonly long _bytesToStore;
    private bool _disposed;

    public RemoteStorage(RemoteLocation location, RemoteParts parts, RemoteSettings settings, Action<string> report)
    {
        ArgumentNullException.ThrowIfNull(location);
        ArgumentNullException.ThrowIfNull(settings);
        Location = location;
        Length = parts.Length;
        ChunkBytes = parts.ChunkBytes;
        Version = parts.Version;
        (_sources, _cache, _proof, Counters) = (parts.Sources, parts.Cache, parts.Proof, parts.Counters);
        _bytesToStore = Length - ZeroBytes();
        _fetcher = new ChunkFetcher(Length, ChunkBytes, _sources, _cache, Counters)
        {
            Timeout = settings.SourceTimeout,
            ParkedChanged = () => ParkedChanged?.Invoke(),
        };
        _recorder = settings.RecordTrace is { } file
            ? new TraceRecorder(file, settings.GoesOnRecording, Path, parts.Version, Length, ChunkBytes, report) : null;
        _direct = _cache is null || _recorder is not null ? null : new CachedReads(_cache, Counters);
        if (settings.FillAfter is { } delay && _cache is not null)
        {
            _fill = new BackgroundFill(this, delay, settings.FillRate, report);
            _fill.RunAsync().Forget();
        }
    }

    public RemoteLocation Location { get; }

    public string Path => Location.Name;

    public long Length { get; }

    /// <summary>What tells the base from others of its name; null if nothing does.</summary>
    public string? Version { get; }

    public bool ReadOnly => true;

    public int OffsetAlignment => 1;

    public int MemoryAlignment => 1;

    public long AllocatedBytes => Length;

    public bool HasFixedLength => true;

    /// <summary>While first touches are recorded, all reads come this way.</summary>
    public ICachedFile? CachedFile => _direct;

    /// <summary>What is worth reading ahead; null as long as that is not known. Home loop.</summary>
    public UsedChunks? Used { get; set; }

    public int ChunkBytes { get; }

    public long Chunks => (Length + ChunkBytes - 1) / ChunkBytes;

    public RemoteCounters Counters { get; }

    /// <summary>Bytes of the base that are in the cache. Any thread.</summary>
    public long StoredBytes => _cache?.StoredBytes ?? 0;

    /// <summary>Whether all of the base is in the cache, but for its zeroes: the source is not needed. Any thread.</summary>
    public bool IsLocal => _cache is not null && StoredBytes >= _bytesToStore;

    /// <summary>The source that is asked first now.</summary>
    public string SourceName => _sources.Name;

    /// <summary>Why the source gives nothing; null if it does.</summary>
    public string? Trouble => _sources.Failure ?? _sources.Trouble;

    /// <summary>Requests that wait for a source that is away.</summary>
    public int Parked => _fetcher.Parked;

    public SourceState State => IsLocal ? SourceState.Local
        : _sources.Failure is not null ? SourceState.Failed
        : _sources.IsAway || Parked > 0 ? SourceState.WaitingForSource : SourceState.Online;

    /// <summary>Told on the home loop when requests begin to wait for the source, and when none does any more.</summary>
    public Action? ParkedChanged { get; set; }

    public FileRange FindRange(long offset) => FileRange.DataToTheEnd;

    public async LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        TransferRules.RequireRead(offset, buffer);
        var inside = (int)Math.Clamp(Length - offset, 0, buffer.Length);
        if (inside < buffer.Length)
            buffer.Slice(inside).Clear();
        if (inside == 0)
            return 0;
        if (offset / ChunkBytes == (offset + inside - 1) / ChunkBytes)
            return await ReadPartAsync(offset, buffer.Slice(0, inside));
        var group = TaskGroup.Rent();
        for (var done = 0; done < inside;)
        {
            var part = (int)Math.Min(inside - done, ChunkBytes - ((offset + done) % ChunkBytes));
            group.Add(ReadPartAsync(offset + done, buffer.Slice(done, part)));
            done += part;
        }

        return await group.WaitAsync();
    }

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer) => Refused();

    public LoopTask<int> FlushAsync() => new(0);

    public LoopTask<int> PunchAsync(long offset, long length) => Refused();

    public LoopTask<int> ZeroAsync(long offset, long length) => Refused();

    public LoopTask<int> SetLengthAsync(long length) => Refused();

    /// <summary>How long requests wait for a source that is away. Home loop.</summary>
    public void SetTimeout(TimeSpan timeout) => _fetcher.Timeout = timeout;

    /// <summary>Whether requests wait for a source that is away, or fail at once. Home loop.</summary>
    public void SetPatience(bool isPatient) => _fetcher.SetPatience(isPatient);

    /// <summary>Fetches the chunks of a range ahead. Home loop.</summary>
    /// <param name="offset">of the range in the file, hostile</param>
    /// <param name="length">of the range</param>
    /// <param name="pin">whether the cache is to keep them when room is needed</param>
    public void FetchAhead(long offset, long length, bool pin)
    {
        var (first, last) = ChunksOf(offset, length);
        for (var chunk = first; chunk <= last; chunk++)
            FetchChunkAhead(chunk, pin);
    }

    /// <summary>What a trace of the base may pin. Home loop.</summary>
    public PinBudget PinsOfTrace() => new(_cache?.MostPinnedByTrace ?? 0, Chunks, ChunkBytes);

    /// <summary>As the other, for what a trace names.</summary>
    public void FetchTraced(long offset, long length, PinBudget pins)
    {
        ArgumentNullException.ThrowIfNull(pins);
        var (first, last) = ChunksOf(offset, length);
        for (var chunk = first; chunk <= last; chunk++)
            FetchChunkAhead(chunk, pins.Take(chunk));
    }

    /// <summary>Whether the chunk is here, or need not be. Home loop.</summary>
    public bool HasChunk(long chunk) => (_proof is not null && _proof.IsZero(chunk)) || (_cache is not null && _cache.IsStored(chunk));

    /// <summary>Whether any chunk of [from, to) is here.</summary>
    public bool HasAnyChunk(long from, long to)
    {
        for (var chunk = from; chunk < to; chunk++)
        {
            if (HasChunk(chunk))
                return true;
        }

        return false;
    }

    /// <summary>Chunks that are to be fetched ahead and are not asked for yet. Home loop.</summary>
    public int QueuedAhead => _fetcher.QueuedAhead;

    /// <summary>Whether nothing is being fetched. Home loop.</summary>
    public bool IsIdle => _fetcher.IsIdle;

    /// <summary>Completes when nothing is being fetched. Home loop.</summary>
    public LoopTask<int> WhenIdleAsync() => _fetcher.WhenIdleAsync();

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _fill?.Stop();
        _recorder?.Dispose();
        CloseAsync().Forget();
    }

    private async LoopTask<int> CloseAsync()
    {
        _fetcher.Close();
        await _sources.CloseAsync();

        // What is being stored uses the cache to the end.
        await _fetcher.WhenIdleAsync();
        _cache?.Dispose();
        return 0;
    }

    private long ZeroBytes()
    {
        var bytes = 0L;
        for (var chunk = 0L; _proof is not null && chunk < Chunks; chunk++)
            bytes += _proof.IsZero(chunk) ? Math.Min(ChunkBytes, Length - (chunk * ChunkBytes)) : 0;
        return bytes;
    }

    /// <summary>The first and the last chunk of a range, which is hostile; the last is before the first if there is none.</summary>
    private (long First, long Last) ChunksOf(long offset, long length) => offset < 0 || offset >= Length || length <= 0 ? (0, -1)
        : (offset / ChunkBytes, (Math.Min(Length, offset + Math.Min(length, Length)) - 1) / ChunkBytes);

    private void FetchChunkAhead(long chunk, bool pin)
    {
        if (!_disposed && !HasChunk(chunk))
            _fetcher.Ahead(chunk, pin);
    }

    [SuppressMessage("Reliability", "CA2012", Justification = "each task is awaited once")]
    private async LoopTask<int> ReadPartAsync(long offset, NativeBuffer buffer)
    {
        if (_disposed)
            return -Errno.ESHUTDOWN;
        var chunk = offset / ChunkBytes;
        _recorder?.Touch(chunk);
        if (_proof is not null && _proof.IsZero(chunk))
        {
            buffer.Clear();
            return 0;
        }

        if (_cache is not null && !_fetcher.IsUnderWay(chunk) && await _cache.ReadAsync(offset, buffer) == 1)
        {
            Counters.CountHit(buffer.Length);
            return 0;
        }

        if (_disposed)
            return -Errno.ESHUTDOWN;
        Counters.CountMiss();
        var ahead = _readAhead.Missed(chunk);
        for (var next = chunk + 1; next <= chunk + ahead && next < Chunks; next++)
        {
            if (Used is null || Used.Contains(next))
                FetchChunkAhead(next, pin: false);
        }

        return await _fetcher.ReadAsync(offset, buffer);
    }

    private static LoopTask<int> Refused() => new(-Errno.EROFS);
}
