using System;
using System.Threading;

namespace Qcow2Blk.Storage;

/// <summary>
/// Ranges of one file that are known to hold data, so that a walk over them asks the file once and not for each
/// request. Holes are never remembered: any write, on any loop, may end one, and a range that is taken for a hole though it
/// holds data is lost in the next backup. Data that became a hole and is still called data costs only a read.
/// </summary>
/// <remarks>
/// One thread at a time changes it (the home loop); any may ask. Start and end of a range are not read at one instant, which
/// can only call data what is a hole, never the other way round.
/// </remarks>
internal sealed class DataRanges
{
    // A file with more pieces than this is asked again now and then; a search of so few is cheaper than asking.
    private const int Capacity = 8;

    private readonly long[] _starts = new long[Capacity];
    private readonly long[] _ends = new long[Capacity];
    private int _oldest;

    /// <summary>Where the known data at <paramref name="offset"/> ends; 0 if none is known there.</summary>
    public long EndAt(long offset)
    {
        for (var i = 0; i < Capacity; i++)
        {
            if (Volatile.Read(ref _starts[i]) <= offset && Volatile.Read(ref _ends[i]) is var end && end > offset)
                return end;
        }

        return 0;
    }

    /// <summary>From <paramref name="start"/> to <paramref name="end"/> there is data.</summary>
    public void Add(long start, long end)
    {
        // A range that goes on where another ends, or covers it, becomes one with it: a file that grows stays one range.
        for (var i = 0; i < Capacity; i++)
        {
            if (_ends[i] == 0 || start > _ends[i] || end < _starts[i])
                continue;
            start = Math.Min(start, _starts[i]);
            end = Math.Max(end, _ends[i]);
            Set(i, 0, 0);
        }

        var place = Array.IndexOf(_ends, 0L);
        if (place < 0)
        {
            place = _oldest;
            _oldest = (_oldest + 1) % Capacity;
        }

        Set(place, start, end);
    }

    /// <summary>What lies from <paramref name="start"/> to <paramref name="end"/> is perhaps no data any more.</summary>
    public void Remove(long start, long end)
    {
        for (var i = 0; i < Capacity; i++)
        {
            var (from, to) = (_starts[i], _ends[i]);
            if (to == 0 || from >= end || to <= start)
                continue;

            // The longer piece of what is left is kept.
            if (start - from >= to - end)
                Set(i, start > from ? from : 0, start > from ? start : 0);
            else
                Set(i, end, to);
        }
    }

    private void Set(int place, long start, long end)
    {
        Volatile.Write(ref _starts[place], start);
        Volatile.Write(ref _ends[place], end);
    }
}
