using System;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// When a read that brings nothing is asked for a second time, and how often that may be: most slow answers are slow for a reason
/// that only they have, such as a lost packet, and a source that is slow because it has too much to do must not get more of it.
/// </summary>
internal sealed class HedgeRule
{
    /// <summary>TCP sends a lost packet again after 200 ms at the earliest: a second request before that is for nothing.</summary>
    public static readonly TimeSpan Shortest = TimeSpan.FromMilliseconds(200);

    /// <summary>While nothing is known of the source: TCP sends the packet that opens a connection again after one second.</summary>
    public static readonly TimeSpan First = TimeSpan.FromSeconds(1);

    /// <summary>Of so many reads, one may be asked for twice…</summary>
    public const int Share = 20;

    /// <summary>…and so many at once, after a time without.</summary>
    public const int Burst = 4;

    private const int Slowness = 3;

    private int _credit = Burst * Share;

    /// <summary>How long a source has, by what it took lately.</summary>
    public static TimeSpan PatienceWith(RecentTimes times)
    {
        ArgumentNullException.ThrowIfNull(times);
        return times.P95 is not { } usual ? First : usual * Slowness > Shortest ? usual * Slowness : Shortest;
    }

    public void CountRead() => _credit = Math.Min(_credit + 1, Burst * Share);

    /// <summary>Takes the right to ask a second time; false if it was used too often.</summary>
    public bool TryTake()
    {
        if (_credit < Share)
            return false;
        _credit -= Share;
        return true;
    }
}
