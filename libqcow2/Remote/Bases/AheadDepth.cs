using System;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// How many chunks are fetched ahead at a time. All that is under way shares the link, and what a guest waits for comes last: with
/// 16 chunks of 256 KiB before it on 4 Mbit/s it waits for eight seconds, and the source's answers come too late to be believed. So
/// there are only as many as arrive within about a second, and one keeps any slow link busy.
/// </summary>
/// <remarks>
/// As TCP finds the rate of a path: one more while chunks come fast, half as many when they do not. Slow is what takes longer than
/// it would alone, too: a store that thinks for two seconds before each answer is not made faster by fewer requests.
/// </remarks>
/// <param name="most">what the source is good for</param>
internal sealed class AheadDepth(Func<int> most)
{
    // A fast link shows itself within two rounds, a slow one is not flooded before it does.
    private const int AtFirst = 4;

    private const double FastOfLeast = 1.5, SlowOfLeast = 3;

    private static readonly TimeSpan s_fast = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_slow = TimeSpan.FromSeconds(1);

    private int _limit = AtFirst;
    private long _lessSince = long.MinValue;
    private TimeSpan _least = TimeSpan.MaxValue;

    public int Limit => Math.Clamp(_limit, 1, Math.Max(1, most()));

    /// <summary>A chunk has arrived.</summary>
    /// <param name="began">when it was asked for, by the clock that gives <paramref name="now"/></param>
    /// <param name="now">when it was there</param>
    /// <param name="took">the time between</param>
    /// <param name="isFull">whether as many were under way as there may be: otherwise it says nothing of one more</param>
    public void Arrived(long began, long now, TimeSpan took, bool isFull)
    {
        _least = took < _least ? took : _least;
        var limit = Limit;
        if (took > Longer(s_slow, _least * SlowOfLeast))
        {
            // What was asked for before there were fewer tells of the time when there were more.
            if (began < _lessSince)
                return;
            _limit = Math.Max(1, limit / 2);
            _lessSince = now;
        }
        else if (isFull && took < Longer(s_fast, _least * FastOfLeast))
        {
            _limit = limit + 1;
        }
    }

    private static TimeSpan Longer(TimeSpan one, TimeSpan other) => one > other ? one : other;
}
