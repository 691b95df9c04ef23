using System;
using System.Diagnostics;
using Qcow2Blk.Uring;
using Xunit;

namespace Qcow2Blk.Tests.Uring;

public class LoopTimeTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(9)]
    [InlineData(10)]
    [InlineData(86400)]
    [InlineData(7 * 86400)]
    public void Long_delays_are_as_long_in_nanoseconds(int seconds)
    {
        var ticks = seconds * Stopwatch.Frequency;

        Assert.Equal(seconds * 1_000_000_000L, LoopTime.ToNanoseconds(ticks));
        Assert.Equal(ticks, LoopTime.FromNanoseconds(seconds * 1_000_000_000L));
    }

    [Fact]
    public void Loop_that_has_nothing_else_to_do_wakes_for_a_delay_of_more_than_nine_seconds()
    {
        using var offload = new OffloadPool(1);
        using var loop = new EventLoop(0, offload);
        loop.Start();
        using var woken = new System.Threading.ManualResetEventSlim();
        var began = Stopwatch.GetTimestamp();
        loop.PostFromAnyThread(() => loop.DelayAsync(9500).CompleteInto(new Signal(woken)));

        Assert.True(woken.Wait(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken), "the loop sleeps for good");
        Assert.True(Stopwatch.GetElapsedTime(began) >= TimeSpan.FromSeconds(9.4));
    }

    private sealed class Signal(System.Threading.ManualResetEventSlim woken) : Qcow2Blk.Scheduling.ICompletionSink<int>
    {
        public void Completed(int result) => woken.Set();
    }
}
