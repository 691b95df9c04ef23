using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared.Checker;
using Xunit;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>Numbers and references of clusters, in memory that goes with them and not with the file.</summary>
public sealed class ReferenceCountsTests
{
    [Fact]
    public void Numbers_are_those_that_were_set_and_come_in_order()
    {
        var random = new Random(3);
        var (numbers, other) = (new ClusterNumbers(), new ClusterNumbers());
        var model = new SortedDictionary<int, uint>();
        for (var step = 0; step < 20_000; step++)
        {
            var cluster = random.Next(3) == 0 ? random.Next(int.MaxValue) : random.Next(2000);
            var value = random.Next(4) == 0 ? 0 : (uint)random.Next();
            numbers[cluster] = value;
            model[cluster] = value;
            Assert.Equal(value, numbers[cluster]);
        }

        Assert.All(model, pair => Assert.Equal(pair.Value, numbers[pair.Key]));
        other[7] = 1;
        other[int.MaxValue] = 1;
        other[1 << 20] = 1;
        Assert.Equal(model.Where(pair => pair.Value != 0).Select(pair => pair.Key), numbers.Set());
        Assert.Equal(model.Where(pair => pair.Value != 0).Select(pair => pair.Key).Union([7, 1 << 20, int.MaxValue]).Order(),
            numbers.Set(other));
        Assert.InRange(numbers.Capacity, 1, 32L * model.Count);
    }

    [Fact]
    public void Zero_takes_no_memory()
    {
        var numbers = new ClusterNumbers();
        for (var cluster = 0; cluster < 1 << 20; cluster++)
            numbers[cluster] = 0;
        Assert.Equal(0, numbers.Capacity);
    }

    [Fact]
    public void More_clusters_than_memory_is_meant_for_are_a_finding()
    {
        var result = new CheckResult();
        var counts = new ReferenceCounts(result, 16, 1L << 46, clusterLimit: 1024);
        Assert.True(counts.Add(0, 1024L << 16, ClusterUse.Bitmap, CheckSubject.Bitmaps));
        Assert.Equal(0, result.Errors);

        Assert.False(counts.Add(0, 1L << 46, ClusterUse.Bitmap, CheckSubject.Bitmaps));

        Assert.Contains("more clusters than can be counted", Assert.Single(result.Findings).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ReferenceCounts.CountLimit, 0)]
    [InlineData(ReferenceCounts.CountLimit + 1, 1)]
    [InlineData(int.MaxValue, 1)]
    public void More_references_than_can_be_told_apart_are_a_finding(int weight, int errors)
    {
        var result = new CheckResult();
        var counts = new ReferenceCounts(result, 16, 1 << 20);
        counts.Add(65536, 65536, ClusterUse.Data, CheckSubject.L2Entry, weight);
        Assert.Equal((errors, Math.Min(weight, ReferenceCounts.CountLimit), ClusterUse.Data), (result.Errors, counts[1], counts.UseOf(1)));
    }
}
