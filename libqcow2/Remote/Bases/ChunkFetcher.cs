using System;
using System.Collections.Generic;
using System.Diagnostics;
using Qcow2Blk.Buffers;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// Fetches chunks of a base: each once however many want it, what somebody waits for before what is fetched ahead, no more at a
/// time than the source is good for. What has arrived goes to those who wait, then into the cache. Home loop.
/// </summary>
/// <param name="length">bytes of the base</param>
/// <param name="chunkBytes">bytes of a chunk</param>
/// <param name="sources">where they come from</param>
/// <param name="cache">where they go; null if nothing is kept</param>
/// <param name="counters">told of what was done</param>
internal sealed class ChunkFetcher(long length, int chunkBytes, SourcePool sources, IChunkCache? cache, RemoteCounters counters)
{
    // How often those who wait look at the clock.
    private const int Watch = 250;

    // Waiting for that long is a source that is away, also where another process does the asking.
    private static readonly TimeSpan s_notable = TimeSpan.FromSeconds(2);

    // Others that are about to fetch the same chunk may fail: then it is our turn, but not for ever.
    private const int ClaimRounds = 3;

    private readonly Dictionary<long, ChunkFetch> _fetches = [];
    private readonly Queue<ChunkFetch> _wanted = new();
    private readonly AheadQueue _ahead = new();
    private readonly AheadDepth _aheadDepth = new(() => sources.Depth);
    private readonly WaitQueue _idle = new();
    private int _active;
    private int _activeAhead;
    private int _waiting;
    private bool _isWatching;
    private bool _isClosing;
    private bool _isImpatient;

    /// <summary>How long a request waits.</summary>
    public required TimeSpan Timeout { get; set; }

    /// <summary>Requests that have waited notably long for the source.</summary>
    public int Parked { get; private set; }

    /// <summary>Whether nothing is fetched now, nor queued.</summary>
    public bool IsIdle => _active == 0 && _wanted.Count == 0 && _ahead.Count == 0;

    /// <summary>Chunks that are to be fetched when nobody waits for another one.</summary>
    public int QueuedAhead => _ahead.Count;

    /// <summary>Told when <see cref="Parked"/> becomes 0 or something else.</summary>
    public Action? ParkedChanged { get; set; }

    private int Slots => Math.Max(1, sources.Depth);

    public bool IsUnderWay(long chunk) => _fetches.ContainsKey(chunk);

    /// <summary>Reads a range inside one chunk that is not stored.</summary>
    /// <returns>0; -EIO if it cannot be had, or not in time</returns>
    public async LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        var chunk = offset / chunkBytes;
        if (!_fetches.TryGetValue(chunk, out var fetch))
        {
            fetch = new ChunkFetch(chunk);
            _fetches.Add(chunk, fetch);
            _wanted.Enqueue(fetch);
        }

        fetch.Users++;
        Pump();
        var result = fetch.Result == ChunkFetch.Pending ? await WaitAsync(fetch) : fetch.Result;
        if (result == ChunkFetch.Arrived)
            fetch.Buffer.Slice((int)(offset - (chunk * chunkBytes)), buffer.Length).Span.CopyTo(buffer.Span);
        fetch.Users--;
        Release(fetch);
        return result == ChunkFetch.Arrived ? 0 : -Errno.EIO;
    }

    /// <summary>Fetches a chunk when nobody waits for another one, unless it is here by then.</summary>
    public void Ahead(long chunk, bool pin)
    {
        if (_isClosing)
            return;
        if (_fetches.TryGetValue(chunk, out var fetch))
        {
            fetch.Pin |= pin;
            return;
        }

        _ahead.Add(chunk, pin);
        Pump();
    }

    /// <summary>Completes when nothing is under way.</summary>
    public LoopTask<int> WhenIdleAsync() => IsIdle ? new LoopTask<int>(0) : _idle.WaitAsync();

    /// <summary>Whether requests wait for a source that is away, or fail at once.</summary>
    public void SetPatience(bool isPatient)
    {
        _isImpatient = !isPatient;
        foreach (var fetch in _fetches.Values)
            fetch.Waiters.WakeAll();
    }

    /// <summary>Those who wait fail; what is under way ends by itself once the sources are closed.</summary>
    public void Close()
    {
        _isClosing = true;
        _ahead.Clear();
        foreach (var fetch in _fetches.Values)
            fetch.Waiters.WakeAll();

        // Nobody will begin with these: who waits for the end must not wait for them.
        while (_wanted.TryDequeue(out var fetch))
        {
            _fetches.Remove(fetch.Chunk);
            fetch.IsOver = true;
        }

        Pump();
    }

    private long StartOf(long chunk) => chunk * chunkBytes;

    private int LengthOf(long chunk) => (int)Math.Min(chunkBytes, length - StartOf(chunk));

    private async LoopTask<int> WaitAsync(ChunkFetch fetch)
    {
        var began = Stopwatch.GetTimestamp();
        _waiting++;
        if (!_isWatching)
            WatchAsync().Forget();
        var isParked = false;
        while (fetch.Result == ChunkFetch.Pending && !_isClosing)
        {
            var waited = Stopwatch.GetElapsedTime(began);
            if (waited >= Timeout || (_isImpatient && (isParked || sources.IsAway)))
                break;
            if (!isParked && (waited >= s_notable || sources.IsAway))
            {
                isParked = true;
                Park(1);
            }

            await fetch.Waiters.WaitAsync();
        }

        if (isParked)
            Park(-1);
        _waiting--;
        return fetch.Result;
    }

    private void Park(int change)
    {
        var before = Parked;
        Parked += change;
        if (before == 0 || Parked == 0)
            ParkedChanged?.Invoke();
    }

    /// <summary>As long as somebody waits, has all who wait look at the clock now and then.</summary>
    private async LoopTask<int> WatchAsync()
    {
        _isWatching = true;
        while (_waiting > 0 && !_isClosing)
        {
            await LoopScheduler.Current.DelayAsync(Watch);
            foreach (var fetch in _fetches.Values)
                fetch.Waiters.WakeAll();
        }

        _isWatching = false;
        return 0;
    }

    private void Pump()
    {
        while (_active < Slots && !_isClosing && Next() is { } fetch)
        {
            _active++;
            RunAsync(fetch).Forget();
        }

        if (IsIdle)
            _idle.WakeAll();
    }

    private ChunkFetch? Next()
    {
        if (_wanted.TryDequeue(out var wanted))
            return wanted;
        while (!sources.IsAway && _activeAhead < _aheadDepth.Limit && _ahead.TryTake(out var chunk, out var pin))
        {
            if (_fetches.TryGetValue(chunk, out var other))
                other.Pin |= pin;
            if (other is not null || (cache is not null && cache.IsStored(chunk)))
                continue;
            var fetch = new ChunkFetch(chunk) { Pin = pin, IsAhead = true };
            _fetches.Add(chunk, fetch);
            _activeAhead++;
            return fetch;
        }

        return null;
    }

    private async LoopTask<int> RunAsync(ChunkFetch fetch)
    {
        var began = Stopwatch.GetTimestamp();
        fetch.Buffer = LoopScheduler.Current.Buffers.Rent(LengthOf(fetch.Chunk));
        var (error, isClaimed) = await FillAsync(fetch);
        fetch.Result = error == 0 ? ChunkFetch.Arrived : error;
        fetch.Waiters.WakeAll();
        if (!fetch.IsHole)
            counters.Times.Count(IoKind.Read, error == 0 ? fetch.Buffer.Length : 0, error != 0, Stopwatch.GetTimestamp() - began);
        if (isClaimed && error == 0)
            await cache!.StoreAsync(fetch.Chunk, fetch.Buffer, fetch.Pin);
        else if (isClaimed)
            cache!.Abandon(fetch.Chunk);
        _fetches.Remove(fetch.Chunk);
        fetch.IsOver = true;
        Release(fetch);
        _active--;
        _activeAhead -= fetch.IsAhead ? 1 : 0;
        Pump();
        return 0;
    }

    /// <returns>0 or a negative errno; and whether the chunk is to be stored</returns>
    private async LoopTask<(int Error, bool IsClaimed)> FillAsync(ChunkFetch fetch)
    {
        var start = StartOf(fetch.Chunk);
        var isClaimed = false;
        for (var round = 0; cache is not null && round < ClaimRounds && !isClaimed; round++)
        {
            isClaimed = await cache.ClaimAsync(fetch.Chunk) == 1;
            if (isClaimed || await cache.ReadAsync(start, fetch.Buffer) != 1)
                continue;
            counters.CountShared();
            return (0, false);
        }

        var began = sources.Clock();
        (var error, fetch.Buffer) =
            await sources.ReadAsync(fetch.Chunk, start, fetch.Buffer, () => fetch.Users > 0 && !_isClosing);
        if (error == 0)
        {
            counters.CountFetch(fetch.Buffer.Length);
            var now = sources.Clock();
            _aheadDepth.Arrived(began, now, Stopwatch.GetElapsedTime(began, now), _activeAhead >= _aheadDepth.Limit);
        }

        fetch.IsHole = error == SourcePool.Zeroes;
        return (Math.Min(error, 0), isClaimed);
    }

    private static void Release(ChunkFetch fetch)
    {
        if (!fetch.IsOver || fetch.Users > 0 || fetch.Buffer.IsEmpty)
            return;
        LoopScheduler.Current.Buffers.Return(fetch.Buffer);
        fetch.Buffer = default;
    }
}
