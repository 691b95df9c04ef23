using System;

namespace Qcow2Blk.Exports.Traffic;

/// <summary>
/// A rate, kept on average: what is not used is saved up for a while, and what is taken beyond that has to be waited for
/// afterwards. So a request that is larger than what can be saved up passes, too. Not thread-safe.
/// </summary>
/// <remarks>It is one point in time: until when all that was taken is paid for, which may lie ahead by what can be saved up.</remarks>
/// <param name="perSecond">what may be taken in a second; more than 0</param>
/// <param name="burst">nanoseconds for which is saved up</param>
internal struct TokenBucket(long perSecond, long burst)
{
    // Beyond this it makes no difference, and sums stay far from overflowing.
    private const double LongestDebt = 1e17;

    private long _paidUntil;

    /// <summary>Nanoseconds until something may be taken; 0 or less if it may be now.</summary>
    /// <param name="now">nanoseconds of a clock that never goes back</param>
    public readonly long Wait(long now) => perSecond == 0 ? 0 : _paidUntil - burst - now;

    /// <summary>Takes so much, whether or not it has to be waited for.</summary>
    public void Take(long amount, long now)
    {
        if (perSecond != 0)
            _paidUntil = Math.Max(_paidUntil, now) + (long)Math.Min(LongestDebt, amount * (1e9 / perSecond));
    }
}
