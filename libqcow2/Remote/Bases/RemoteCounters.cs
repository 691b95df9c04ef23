using System.Threading;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// What reads of a base have cost. Each loop counts its own hits; all else the home loop counts, and any thread may look.
/// </summary>
internal sealed class RemoteCounters
{
    // A cache line for each loop: they count with every request.
    private const int Stride = 16;
    private const int MaxLoops = 128;

    private readonly long[] _hits = new long[Stride * MaxLoops];
    private long _misses;
    private long _fetchedBytes;
    private long _fetches;
    private long _shared;
    private long _retries;
    private long _badChunks;
    private long _hedges;
    private long _hedgeWins;

    /// <summary>Reads that the cache answered, and bytes of them.</summary>
    public long Hits => Sum(0);

    public long HitBytes => Sum(1);

    /// <summary>Reads that waited for the source.</summary>
    public long Misses => Volatile.Read(ref _misses);

    /// <summary>Bytes that the source has sent and that were used.</summary>
    public long FetchedBytes => Volatile.Read(ref _fetchedBytes);

    public long Fetches => Volatile.Read(ref _fetches);

    /// <summary>Chunks that another process of the node had fetched when this one was about to.</summary>
    public long Shared => Volatile.Read(ref _shared);

    /// <summary>Attempts that failed and were made again.</summary>
    public long Retries => Volatile.Read(ref _retries);

    /// <summary>Chunks that came and were not what the manifest says.</summary>
    public long BadChunks => Volatile.Read(ref _badChunks);

    /// <summary>Reads that a source was slow with, and that were asked for a second time meanwhile.</summary>
    public long Hedges => Volatile.Read(ref _hedges);

    /// <summary>Those of them whose second answer was the first to be there.</summary>
    public long HedgeWins => Volatile.Read(ref _hedgeWins);

    /// <summary>How long fetches took, as reads.</summary>
    public IoStatistics Times { get; } = new();

    public void CountHit(int bytes)
    {
        var index = LoopScheduler.Current is EventLoop loop ? loop.Index : 0;
        var slot = (index & (MaxLoops - 1)) * Stride;
        _hits[slot]++;
        _hits[slot + 1] += bytes;
    }

    public void CountMiss() => _misses++;

    public void CountShared() => _shared++;

    public void CountRetry() => _retries++;

    public void CountBadChunk() => _badChunks++;

    public void CountHedge() => _hedges++;

    public void CountHedgeWin() => _hedgeWins++;

    public void CountFetch(int bytes)
    {
        _fetches++;
        _fetchedBytes += bytes;
    }

    private long Sum(int which)
    {
        var sum = 0L;
        for (var slot = which; slot < _hits.Length; slot += Stride)
            sum += Volatile.Read(ref _hits[slot]);
        return sum;
    }
}
