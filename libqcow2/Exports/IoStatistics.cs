using System;
using System.Diagnostics;
using System.Numerics;

namespace Qcow2Blk.Exports;

/// <summary>What one loop has served. Written by its loop only; others may read it at any time, a little late.</summary>
internal sealed class IoStatistics
{
    // Four steps for every doubling, from 1 microsecond on: about 20 % resolution over nine decades.
    private const int StepsPerOctave = 4;
    private const int Buckets = 40 * StepsPerOctave;

    private readonly long[] _latency = new long[Buckets];

    public long Reads { get; private set; }

    public long Writes { get; private set; }

    public long Others { get; private set; }

    public long BytesRead { get; private set; }

    public long BytesWritten { get; private set; }

    public long Errors { get; private set; }

    public void Count(bool isRead, bool isWrite, long length, bool failed, long elapsedTicks)
    {
        if (failed)
            Errors++;
        if (isRead)
        {
            Reads++;
            BytesRead += length;
        }
        else if (isWrite)
        {
            Writes++;
            BytesWritten += length;
        }
        else
        {
            Others++;
        }

        _latency[BucketOf(elapsedTicks)]++;
    }

    /// <summary>Adds what another loop has served.</summary>
    public void Add(IoStatistics other)
    {
        Reads += other.Reads;
        Writes += other.Writes;
        Others += other.Others;
        BytesRead += other.BytesRead;
        BytesWritten += other.BytesWritten;
        Errors += other.Errors;
        for (var i = 0; i < Buckets; i++)
            _latency[i] += other._latency[i];
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
            seen += _latency[i];
            if (seen >= rank)
                return UpperBound(i);
        }

        return UpperBound(Buckets - 1);
    }

    private static int BucketOf(long ticks)
    {
        // Whole quarter-microseconds keep this in integers.
        var quarters = (ulong)Math.Max(1, ticks * 4_000_000 / Stopwatch.Frequency);
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
