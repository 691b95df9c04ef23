using System;
using System.Collections.Generic;
using System.Numerics;
using System.Threading;

namespace Qcow2Blk.Exports.Traffic;

/// <summary>
/// From one loop to one reader, without a lock. What finds no room is counted and lost: a reader that does not keep up must
/// not hold requests up.
/// </summary>
/// <remarks>
/// Invariant: only the loop moves the end, and only after the record is in its place; only the reader moves the beginning,
/// and only after it has copied the record. So a place is never written to while it is read.
/// </remarks>
internal sealed class TraceRing
{
    private readonly TraceRecord[] _records;
    private long _begin;
    private long _end;
    private long _lost;

    /// <param name="capacity">records that wait for the reader; a power of two</param>
    public TraceRing(int capacity)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(BitOperations.PopCount((uint)capacity), 1, nameof(capacity));
        _records = new TraceRecord[capacity];
    }

    /// <summary>Records that found no room so far. Any thread.</summary>
    public long Lost => Volatile.Read(ref _lost);

    /// <summary>By the loop.</summary>
    public void Add(in TraceRecord record)
    {
        var end = _end;
        if (end - Volatile.Read(ref _begin) == _records.Length)
        {
            Volatile.Write(ref _lost, _lost + 1);
            return;
        }

        _records[end & (_records.Length - 1)] = record;
        Volatile.Write(ref _end, end + 1);
    }

    /// <summary>By the reader: moves what is there to a list.</summary>
    public void Take(List<TraceRecord> into)
    {
        var end = Volatile.Read(ref _end);
        for (var i = _begin; i < end; i++)
            into.Add(_records[i & (_records.Length - 1)]);
        Volatile.Write(ref _begin, end);
    }
}
