using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Numerics;

namespace Qcow2Blk.Exports.Traffic;

/// <summary>What one loop has served. Written by its loop only; others may read it at any time, a little late.</summary>
internal sealed class IoStatistics
{
    // Four steps for every doubling, from 1 microsecond on: about 20 % resolution over nine decades.
    private const int StepsPerOctave = 4;
    private const int Octaves = 40;
    private const int Buckets = Octaves * StepsPerOctave;

    // Buckets begin at a quarter of a microsecond: what took less than one is one class in a histogram.
    private const int OctavesBelowMicrosecond = 2;
    private const int Kinds = 3;

    private static readonly double s_quartersPerTick = 4e6 / Stopwatch.Frequency;

    private readonly long[] _latency = new long[Kinds * Buckets];
    private readonly long[] _requests = new long[Kinds];
    private readonly long[] _bytes = new long[Kinds];
    private readonly long[] _ticks = new long[Kinds];

    /// <summary>
    /// Upper bounds of the classes of <see cref="Histogram"/>, in nanoseconds: 1000, and twice as much each time. The last class
    /// has what took longer than its bound, too: three days.
    /// </summary>
    public static IReadOnlyList<long> Bounds { get; } = MakeBounds();

    public long Errors { get; private set; }

    /// <summary>How many requests have ended, with or without an error.</summary>
    public long Requests(IoKind kind) => _requests[(int)kind];

    /// <summary>Bytes that requests were for: those moved, or those discarded or zeroed.</summary>
    public long Bytes(IoKind kind) => _bytes[(int)kind];

    /// <summary>How long all requests took together.</summary>
    public long Nanoseconds(IoKind kind) => (long)(_ticks[(int)kind] * (1e9 / Stopwatch.Frequency));

    public void Count(IoKind kind, long length, bool failed, long elapsedTicks)
    {
        if (failed)
            Errors++;
        var i = (int)kind;
        _requests[i]++;
        _bytes[i] += length;
        _ticks[i] += elapsedTicks;
        _latency[(i * Buckets) + BucketOf(elapsedTicks)]++;
    }

    /// <summary>Adds what another loop has served.</summary>
    public void Add(IoStatistics other)
    {
        Errors += other.Errors;
        AddTo(_requests, other._requests);
        AddTo(_bytes, other._bytes);
        AddTo(_ticks, other._ticks);
        AddTo(_latency, other._latency);
    }

    /// <summary>How many requests took less than the bound of each class, and not less than the one before it.</summary>
    public IReadOnlyList<long> Histogram(IoKind kind)
    {
        var classes = new long[Bounds.Count];
        for (var i = 0; i < Buckets; i++)
            classes[Math.Max(0, (i / StepsPerOctave) - OctavesBelowMicrosecond + 1)] += _latency[((int)kind * Buckets) + i];
        return classes;
    }

    /// <summary>The latency in microseconds that <paramref name="fraction"/> of the requests stayed below; 0 if there were none.</summary>
    public double Percentile(double fraction)
    {
        long total = 0;
        foreach (var count in _latency)
            total += count;
        if (total == 0)
            return 0;
        var rank = (long)Math.Ceiling(total * fraction);
        long seen = 0;
        for (var i = 0; i < Buckets; i++)
        {
            for (var kind = 0; kind < Kinds; kind++)
                seen += _latency[(kind * Buckets) + i];
            if (seen >= rank)
                return UpperBound(i);
        }

        return UpperBound(Buckets - 1);
    }

    private static long[] MakeBounds()
    {
        var bounds = new long[Octaves - OctavesBelowMicrosecond + 1];
        for (var i = 0; i < bounds.Length; i++)
            bounds[i] = 1000L << i;
        return bounds;
    }

    private static void AddTo(long[] sums, long[] more)
    {
        for (var i = 0; i < sums.Length; i++)
            sums[i] += more[i];
    }

    private static int BucketOf(long ticks)
    {
        // Not in integers: a request that waited for a resume for an hour would overflow them.
        var quarters = (ulong)Math.Max(1, ticks * s_quartersPerTick);
        var octave = BitOperations.Log2(quarters);
        var step = octave >= 2 ? (int)(quarters >> (octave - 2)) & 3 : 0;
        return Math.Min(Buckets - 1, (octave * StepsPerOctave) + step);
    }

    private static double UpperBound(int bucket)
    {
        var octave = bucket / StepsPerOctave;
        var step = (bucket % StepsPerOctave) + 1;
        return Math.ScaleB(1 + (step / (double)StepsPerOctave), octave) / 4;
    }
}
