using System;
using Qcow2Blk.Exports.Traffic;
using Xunit;

namespace Qcow2Blk.Tests.Exports.Traffic;

public sealed class RequestLimitsTests
{
    private const long Second = 1_000_000_000;
    private readonly RequestLimits _limits = new();

    // A clock does not begin at 0.
    private long _now = 77 * Second;

    [Fact]
    public void Nothing_is_asked_while_nothing_is_limited()
    {
        Assert.False(_limits.IsOn);
        Assert.Equal(0, _limits.TryPass(IoKind.Write, long.MaxValue, 0));
        _limits.Set(new LimitRates { BurstSeconds = 5 });
        Assert.False(_limits.IsOn);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(3333)]
    [InlineData(1_000_000)]
    public void Requests_keep_their_rate_over_time(int rate)
    {
        _limits.Set(new LimitRates { Requests = rate });
        var passed = Drive(10, () => _limits.TryPass(IoKind.Read, 4096, _now));
        Assert.InRange(passed, 10L * rate, (10.1 * rate) + 1);
    }

    [Theory]
    [InlineData(4096, 4096)]
    [InlineData(10 << 20, 4096)]
    [InlineData(10 << 20, 1 << 20)]
    [InlineData(1 << 20, 32 << 20)]
    public void Bytes_keep_their_rate_over_time_however_large_requests_are(long rate, long request)
    {
        _limits.Set(new LimitRates { Bytes = rate });
        var seconds = Math.Max(10, 10 * request / rate);
        var passed = Drive(seconds, () => _limits.TryPass(IoKind.Write, request, _now));
        Assert.InRange(passed * request, seconds * rate * 0.99, ((seconds + 0.1) * rate) + request);
    }

    [Fact]
    public void What_was_not_used_is_saved_up_for_the_burst_and_no_longer()
    {
        _limits.Set(new LimitRates { Requests = 100, BurstSeconds = 2 });
        Assert.Equal(201, Burst());
        _now += Second;
        Assert.Equal(100, Burst());
        _now += 3600 * Second;
        Assert.Equal(201, Burst());

        int Burst()
        {
            var passed = 0;
            while (_limits.TryPass(IoKind.Read, 1, _now) == 0)
                passed++;
            return passed;
        }
    }

    [Fact]
    public void Limits_of_one_kind_leave_the_other_alone()
    {
        _limits.Set(new LimitRates { Reads = 10, WrittenBytes = 1000, BurstSeconds = 0.1 });
        while (_limits.TryPass(IoKind.Read, 1 << 30, _now) == 0)
        {
        }

        Assert.Equal(0, _limits.TryPass(IoKind.Write, 500, _now));
        Assert.True(_limits.TryPass(IoKind.Write, 500, _now) > 0);
        Assert.True(_limits.TryPass(IoKind.Read, 1, _now) > 0);
        Assert.Equal(0, _limits.TryPass(IoKind.Other, 1 << 30, _now));
    }

    [Fact]
    public void A_limit_of_all_requests_counts_both_kinds()
    {
        _limits.Set(new LimitRates { Requests = 1000, Reads = 900 });
        var (reads, writes) = (0L, 0L);
        Drive(10, () =>
        {
            var read = _limits.TryPass(IoKind.Read, 512, _now);
            reads += read == 0 ? 1 : 0;
            var write = _limits.TryPass(IoKind.Write, 512, _now);
            writes += write == 0 ? 1 : 0;
            return Math.Min(read, write);
        });
        Assert.InRange(reads + writes, 10_000, 10_101);
        Assert.InRange(reads, 1, 9_091);
    }

    [Fact]
    public void A_request_that_moves_nothing_does_not_wait_for_bandwidth()
    {
        _limits.Set(new LimitRates { Bytes = 4096 });
        Assert.Equal(0, _limits.TryPass(IoKind.Write, 1 << 20, _now));
        Assert.True(_limits.TryPass(IoKind.Write, 1, _now) > 0);
        Assert.Equal(0, _limits.TryPass(IoKind.Write, 0, _now));
    }

    [Fact]
    public void Who_has_to_wait_has_not_been_counted()
    {
        _limits.Set(new LimitRates { Requests = 10, Reads = 1 });
        while (_limits.TryPass(IoKind.Read, 1, _now) == 0)
        {
        }

        var wait = _limits.TryPass(IoKind.Read, 1, _now);
        for (var i = 0; i < 100; i++)
            Assert.Equal(wait, _limits.TryPass(IoKind.Read, 1, _now));
        _now += wait;
        Assert.Equal(0, _limits.TryPass(IoKind.Read, 1, _now));
    }

    [Fact]
    public void Lifted_limits_hold_again_when_they_are_restored_also_those_set_meanwhile()
    {
        _limits.Set(new LimitRates { Requests = 1 });
        _limits.Lift();
        Assert.False(_limits.IsOn);
        _limits.Set(new LimitRates { Requests = 2 });
        Assert.False(_limits.IsOn);
        _limits.Restore();
        Assert.True(_limits.IsOn);
        Assert.Equal(2, _limits.Rates.Requests);
    }

    /// <summary>Somebody who always has a request ready, for so many seconds.</summary>
    /// <returns>how many passed</returns>
    private long Drive(long seconds, Func<long> tryPass)
    {
        var end = _now + (seconds * Second);
        long passed = 0;
        while (_now < end)
        {
            var wait = tryPass();
            if (wait > 0)
                _now += wait;
            else
                passed++;
        }

        return passed;
    }
}
