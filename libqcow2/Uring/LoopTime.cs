using System;
using System.Diagnostics;

namespace Qcow2Blk.Uring;

/// <summary>Timestamps of <see cref="Stopwatch"/> as nanoseconds. In 128 bits: nine seconds of a nanosecond's clock overflow 64.</summary>
internal static class LoopTime
{
    private const long PerSecond = 1_000_000_000;

    public static long ToNanoseconds(long ticks) => (long)((Int128)ticks * PerSecond / Stopwatch.Frequency);

    public static long FromNanoseconds(long nanoseconds) => (long)((Int128)nanoseconds * Stopwatch.Frequency / PerSecond);
}
