using System;

namespace Qcow2Blk.Remote.Bases;

/// <summary>How long a source took for each of the last reads that it answered.</summary>
internal sealed class RecentTimes
{
    private const int Window = 64;

    // Fewer show nothing: with less than twenty, the 95th percentile is the slowest one.
    private const int Enough = 8;

    private readonly long[] _ticks = new long[Window];
    private readonly long[] _sorted = new long[Window];
    private int _count;
    private int _next;
    private bool _isSorted;

    /// <summary>What 95 % of them stayed below; null while there are too few.</summary>
    public TimeSpan? P95
    {
        get
        {
            if (_count < Enough)
                return null;
            if (!_isSorted)
            {
                _ticks.AsSpan(0, _count).CopyTo(_sorted);
                _sorted.AsSpan(0, _count).Sort();
                _isSorted = true;
            }

            return TimeSpan.FromTicks(_sorted[(((_count * 95) + 99) / 100) - 1]);
        }
    }

    public void Add(TimeSpan time)
    {
        _ticks[_next] = time.Ticks;
        _next = (_next + 1) % Window;
        _count = Math.Min(_count + 1, Window);
        _isSorted = false;
    }
}
