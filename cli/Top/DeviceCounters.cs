using System;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Devices.Metrics;

namespace Qcow2Blk.Cli.Top;

/// <summary>What the servers of a device counted until a moment.</summary>
internal sealed class DeviceCounters
{
    private DeviceCounters(DeviceAnswer answer, StatusReader status)
    {
        Answer = answer;
        State = status.Text("state") ?? "";
        IsHeard = status.Number("requests", "reads") is not null;
        Reads = status.Number("requests", "reads") ?? 0;
        Writes = status.Number("requests", "writes") ?? 0;
        Others = status.Number("requests", "others") ?? 0;
        BytesRead = status.Number("requests", "read-bytes") ?? 0;
        BytesWritten = status.Number("requests", "written-bytes") ?? 0;
        InFlight = status.Number("requests", "in-flight");
        StatusReader[] bases = [.. status.Each("bases")];
        Waiting = status.Number("requests", "waiting-for-space") + (status.Number("requests", "waiting-for-limit") ?? 0)
            + bases.Sum(one => one.Number("waiting") ?? 0);
        if (bases.Length > 0)
        {
            BytesFetched = bases.Sum(one => one.Number("fetched-bytes") ?? 0);
            BytesOfBases = bases.Sum(one => one.Number("length-bytes") ?? 0);
            BytesCached = bases.Sum(one => one.Number("cached-bytes") ?? 0);
            BaseHits = bases.Sum(one => one.Number("hits") ?? 0);
            BaseMisses = bases.Sum(one => one.Number("misses") ?? 0);
            FetchP99Nanoseconds = bases.Max(one => one.Number("fetch-p99-ns")) is > 0 and var time ? time : null;
        }

        Nanoseconds = status.Number("requests", "read-time-ns") + status.Number("requests", "write-time-ns")
            + status.Number("requests", "other-time-ns");
        Hits = status.Number("cache", "l2-hits");
        Misses = status.Number("cache", "l2-misses");
        Bounds = status.Numbers("latency", "histogram", "le-ns");
        Buckets = Sum(status.Numbers("latency", "histogram", "reads"), status.Numbers("latency", "histogram", "writes"),
            status.Numbers("latency", "histogram", "others"));
    }

    internal DeviceAnswer Answer { get; }

    internal string State { get; }

    /// <summary>Whether a server told all this.</summary>
    internal bool IsHeard { get; }

    internal double Reads { get; }

    internal double Writes { get; }

    internal double Others { get; }

    internal double BytesRead { get; }

    internal double BytesWritten { get; }

    internal double? InFlight { get; }

    internal double? Waiting { get; }

    /// <summary>How long all requests took together; null if the server is of a version that does not tell.</summary>
    internal double? Nanoseconds { get; }

    /// <summary>Bytes that the sources of its bases have sent; null if it has none in a store.</summary>
    internal double? BytesFetched { get; }

    internal double? BytesOfBases { get; }

    internal double? BytesCached { get; }

    /// <summary>Reads of its bases that the cache answered; null if it has none in a store.</summary>
    internal double? BaseHits { get; }

    /// <summary>Those that waited for a source.</summary>
    internal double? BaseMisses { get; }

    /// <summary>What 99 of 100 fetches took less than, of the base whose are the slowest; null if there were none.</summary>
    internal double? FetchP99Nanoseconds { get; }

    internal double? Hits { get; }

    internal double? Misses { get; }

    /// <summary>The bounds of <see cref="Buckets"/>, in nanoseconds; a last one without a bound may follow.</summary>
    internal double[] Bounds { get; }

    internal double[] Buckets { get; }

    internal double Requests => Reads + Writes + Others;

    internal static DeviceCounters Of(DeviceAnswer answer)
    {
        using var status = JsonDocument.Parse(answer.Status);
        return new DeviceCounters(answer, new StatusReader(status.RootElement));
    }

    /// <summary>Whether this server told the earlier ones, too: another one began to count again.</summary>
    internal bool Follows(DeviceCounters earlier) =>
        IsHeard && earlier.IsHeard && Answer.Record.Pid == earlier.Answer.Record.Pid
            && Answer.Record.Started == earlier.Answer.Record.Started
            && Requests >= earlier.Requests && Answer.At > earlier.Answer.At;

    private static double[] Sum(params ReadOnlySpan<double[]> parts)
    {
        var sum = new double[parts[0].Length];
        foreach (var part in parts)
        {
            for (var i = 0; i < Math.Min(sum.Length, part.Length); i++)
                sum[i] += part[i];
        }

        return sum;
    }
}
