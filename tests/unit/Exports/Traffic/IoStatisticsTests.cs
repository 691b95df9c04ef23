using System;
using System.Diagnostics;
using System.Linq;
using Qcow2Blk.Exports.Traffic;
using Xunit;

namespace Qcow2Blk.Tests.Exports.Traffic;

public sealed class IoStatisticsTests
{
    [Fact]
    public void Requests_of_each_kind_are_counted_apart()
    {
        var statistics = new IoStatistics();
        statistics.Count(IoKind.Read, 4096, failed: false, Ticks(3));
        statistics.Count(IoKind.Read, 512, failed: true, Ticks(5));
        statistics.Count(IoKind.Write, 65536, failed: false, Ticks(40));
        statistics.Count(IoKind.Other, 0, failed: false, Ticks(1000));

        Assert.Equal([2, 1, 1], Enum.GetValues<IoKind>().Select(statistics.Requests));
        Assert.Equal([4608, 65536, 0], Enum.GetValues<IoKind>().Select(statistics.Bytes));
        Assert.Equal([8_000, 40_000, 1_000_000], Enum.GetValues<IoKind>().Select(statistics.Nanoseconds));
        Assert.Equal(1, statistics.Errors);
    }

    [Theory]
    [InlineData(0.1, 0)]
    [InlineData(0.9, 0)]
    [InlineData(1, 1)]
    [InlineData(1.9, 1)]
    [InlineData(2, 2)]
    [InlineData(1_000_000, 20)]
    [InlineData(3600e6, 32)]
    [InlineData(1e12, 38)]
    public void A_request_is_in_the_class_whose_bound_it_did_not_reach(double microseconds, int expected)
    {
        var statistics = new IoStatistics();
        statistics.Count(IoKind.Write, 1, failed: false, Ticks(microseconds));

        var classes = statistics.Histogram(IoKind.Write);
        Assert.Equal(IoStatistics.Bounds.Count, classes.Count);
        Assert.Equal(1, classes[expected]);
        Assert.Equal(1, classes.Sum());
        Assert.True(microseconds * 1000 < IoStatistics.Bounds[expected] || expected == classes.Count - 1);
        Assert.True(expected == 0 || microseconds * 1000 >= IoStatistics.Bounds[expected - 1]);
        Assert.Equal(0, statistics.Histogram(IoKind.Read).Sum());
    }

    [Fact]
    public void What_loops_have_served_adds_up()
    {
        var sum = new IoStatistics();
        foreach (var kind in Enum.GetValues<IoKind>())
        {
            var one = new IoStatistics();
            one.Count(kind, 10, failed: true, Ticks(7));
            sum.Add(one);
            sum.Add(one);
        }

        Assert.All(Enum.GetValues<IoKind>(),
            kind => Assert.Equal((2, 20, 14_000), (sum.Requests(kind), sum.Bytes(kind), sum.Nanoseconds(kind))));
        Assert.All(Enum.GetValues<IoKind>(), kind => Assert.Equal(2, sum.Histogram(kind)[3]));
        Assert.Equal(6, sum.Errors);
    }

    [Fact]
    public void Percentiles_are_of_all_kinds_together()
    {
        var statistics = new IoStatistics();
        for (var i = 0; i < 98; i++)
            statistics.Count(IoKind.Read, 1, failed: false, Ticks(10));
        statistics.Count(IoKind.Write, 1, failed: false, Ticks(1000));
        statistics.Count(IoKind.Other, 1, failed: false, Ticks(1000));

        Assert.InRange(statistics.Percentile(0.5), 10, 12.5);
        Assert.InRange(statistics.Percentile(0.99), 1000, 1250);
    }

    private static long Ticks(double microseconds) => (long)(microseconds * Stopwatch.Frequency / 1e6);
}
