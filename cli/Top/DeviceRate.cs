using System;
using System.Diagnostics;
using System.Linq;

namespace Qcow2Blk.Cli.Top;

/// <summary>What a device did in an interval, each by the second.</summary>
/// <param name="Now">the counters at its end</param>
internal sealed record DeviceRate(DeviceCounters Now)
{
    internal double? Reads { get; private init; }

    internal double? Writes { get; private init; }

    internal double? Others { get; private init; }

    internal double? BytesRead { get; private init; }

    internal double? BytesWritten { get; private init; }

    /// <summary>How long a request took; null if there was none.</summary>
    internal double? AverageNanoseconds { get; private init; }

    /// <summary>What 99 of 100 requests stayed below; null if there was none.</summary>
    internal double? P99Nanoseconds { get; private init; }

    /// <summary>Bytes that came from the sources of its bases; null if it has none in a store.</summary>
    internal double? BytesFetched { get; private init; }

    /// <summary>How many of 100 bytes of its bases are in the cache; null if it has none in a store.</summary>
    internal double? CachedPercent => Now.BytesOfBases > 0 ? 100 * Now.BytesCached / Now.BytesOfBases : null;

    /// <summary>How many of 100 reads of its bases in stores the cache answered; null if there were none.</summary>
    internal double? BaseHitPercent { get; private init; }

    /// <summary>How many of 100 L2 tables were in the cache; null if none was wanted.</summary>
    internal double? HitPercent { get; private init; }

    /// <param name="earlier">the counters at the beginning; null if they are not known</param>
    /// <param name="now">those at the end</param>
    internal static DeviceRate Between(DeviceCounters? earlier, DeviceCounters now)
    {
        if (earlier is null || !now.Follows(earlier))
            return new DeviceRate(now);
        var seconds = Stopwatch.GetElapsedTime(earlier.Answer.At, now.Answer.At).TotalSeconds;
        var requests = now.Requests - earlier.Requests;
        return new DeviceRate(now)
        {
            Reads = (now.Reads - earlier.Reads) / seconds,
            Writes = (now.Writes - earlier.Writes) / seconds,
            Others = (now.Others - earlier.Others) / seconds,
            BytesRead = (now.BytesRead - earlier.BytesRead) / seconds,
            BytesWritten = (now.BytesWritten - earlier.BytesWritten) / seconds,
            AverageNanoseconds = requests > 0 ? (now.Nanoseconds - earlier.Nanoseconds) / requests : null,
            P99Nanoseconds = Percentile(earlier, now, 0.99),
            BytesFetched = (now.BytesFetched - earlier.BytesFetched) / seconds,
            BaseHitPercent = Share(now.BaseHits - earlier.BaseHits, now.BaseMisses - earlier.BaseMisses),
            HitPercent = Share(now.Hits - earlier.Hits, now.Misses - earlier.Misses),
        };
    }

    private static double? Share(double? hits, double? misses) => hits + misses > 0 ? 100 * hits / (hits + misses) : null;

    /// <summary>Within its bucket by proportion, as Prometheus does it: the buckets are wide.</summary>
    private static double? Percentile(DeviceCounters earlier, DeviceCounters now, double fraction)
    {
        if (now.Bounds.Length == 0 || !now.Bounds.SequenceEqual(earlier.Bounds) || now.Buckets.Length != earlier.Buckets.Length)
            return null;
        double[] counts = [.. now.Buckets.Zip(earlier.Buckets, (after, before) => after - before)];
        var rank = counts.Sum() * fraction;
        if (rank <= 0)
            return null;
        double below = 0;
        for (var i = 0; i < Math.Min(counts.Length, now.Bounds.Length); i++)
        {
            if (below + counts[i] >= rank)
            {
                var lower = i == 0 ? 0 : now.Bounds[i - 1];
                return lower + ((now.Bounds[i] - lower) * (rank - below) / counts[i]);
            }

            below += counts[i];
        }

        return now.Bounds[^1];
    }
}
