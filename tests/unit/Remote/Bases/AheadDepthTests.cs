using System;
using System.Linq;
using Qcow2Blk.Remote.Bases;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

public class AheadDepthTests
{
    private const int Chunk = BaseOnLoop.Chunk;
    private const int Most = 16;

    [Fact]
    public void Link_that_shares_its_rate_has_chunks_that_arrive_within_about_a_second()
    {
        // Seconds that a chunk takes by itself, and what the depth may become.
        foreach (var (alone, least, most) in new[] { (0.02, Most, Most), (0.1, 5, 10), (0.5, 1, 3), (3, 1, 2) })
        {
            var depth = new AheadDepth(() => Most);
            depth.Arrived(0, 1, TimeSpan.FromSeconds(alone), isFull: false);
            var seen = Rounds(depth, 100, limit => alone * limit);
            Assert.All(seen.Skip(20), limit => Assert.InRange(limit, least, most));
        }
    }

    [Fact]
    public void Source_that_takes_its_time_for_each_answer_is_asked_for_many()
    {
        var depth = new AheadDepth(() => Most);
        Assert.Equal(Most, Rounds(depth, 30, _ => 2)[^1]);
    }

    [Fact]
    public void Link_that_becomes_slower_has_fewer_and_more_again_when_it_is_over()
    {
        var depth = new AheadDepth(() => Most);
        Assert.Equal(Most, Rounds(depth, 30, limit => 0.01 * limit)[^1]);
        Assert.Equal(1, Rounds(depth, 10, limit => 1.5 * limit)[^1]);
        Assert.Equal(Most, Rounds(depth, 30, limit => 0.01 * limit)[^1]);
    }

    [Fact]
    public void What_was_asked_for_at_once_counts_once()
    {
        var depth = new AheadDepth(() => Most);
        depth.Arrived(0, 1, TimeSpan.FromMilliseconds(100), isFull: false);
        for (var now = 10; now < 14; now++)
            depth.Arrived(2, now, TimeSpan.FromSeconds(5), isFull: true);
        Assert.Equal(2, depth.Limit);
    }

    [Fact]
    public void Depth_of_a_source_is_never_exceeded()
    {
        var most = 3;
        var depth = new AheadDepth(() => most);
        Assert.Equal(3, depth.Limit);
        most = 0;
        Assert.Equal(1, depth.Limit);
    }

    [Fact]
    public void Queue_of_a_slow_base_leaves_the_link_to_who_waits()
    {
        using var scene = new BaseOnLoop(1);
        scene.Source.Depth = Most;
        Assert.Equal(0, scene.Read(39 * Chunk, 10));
        scene.WaitUntilIdle();
        for (var i = 0; i < 12; i++)
            scene.Source.Delays.Enqueue(5000);
        scene.Storage.FetchAhead(0, 30 * Chunk, pin: false);
        scene.Sleep(12_000);
        var before = scene.Source.Reads.Count;
        scene.Sleep(4900);
        Assert.InRange(scene.Source.Reads.Count - before, 0, 1);
        Assert.Equal(0, scene.Read(38 * Chunk, 10));
        scene.WaitUntilIdle();
        Assert.Equal(0, scene.Storage.QueuedAhead);
    }

    /// <summary>The limit before each round, in which as many chunks are under way as it allows.</summary>
    private static int[] Rounds(AheadDepth depth, int rounds, Func<int, double> seconds)
    {
        var limits = new int[rounds];
        long now = 10;
        for (var round = 0; round < rounds; round++)
        {
            var limit = limits[round] = depth.Limit;
            var (began, took) = (now, TimeSpan.FromSeconds(seconds(limit)));
            now += took.Ticks;
            for (var i = 0; i < limit; i++)
                depth.Arrived(began, now, took, isFull: true);
        }

        return limits;
    }
}
