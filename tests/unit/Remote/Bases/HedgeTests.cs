using System;
using System.Linq;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>Reads that a source is slow with are asked for a second time, once, and never is anything of two answers mixed.</summary>
public class HedgeTests
{
    private const int Chunk = BaseOnLoop.Chunk;
    private const int Stall = 10_000;

    // How late a look may be, and what the simulated loop's answers take.
    private const int Slack = 60;

    private static readonly int s_first = (int)HedgeRule.First.TotalMilliseconds;
    private static readonly FetchResult s_away = new(FetchStatus.Unavailable, "nobody answers");
    private static readonly FetchResult s_busy = new(FetchStatus.Unavailable, "slow down", IsBusy: true);

    [Fact]
    public void Read_that_brings_nothing_is_answered_by_the_mirror()
    {
        using var scene = new BaseOnLoop(1, sources: 2);
        scene.Source.Delays.Enqueue(Stall);
        Assert.Equal(0, scene.Read(0, 100));
        Assert.InRange(scene.Loop.Now, s_first, s_first + Slack);
        AssertHedges(scene, 1, 1);
        Assert.True(scene.Source.Handles.Single().IsCancelled);
        Assert.Equal([0L], scene.Sources[1].Reads);

        // One slow answer is no reason to leave it.
        Assert.Equal("https://server0/base", scene.Storage.SourceName);
        Assert.Equal(0, scene.Read(3 * Chunk, 100));
        Assert.Equal(2, scene.Source.Reads.Count);
    }

    [Fact]
    public void Slow_answer_that_is_the_first_after_all_is_taken()
    {
        using var scene = new BaseOnLoop(2, sources: 2);
        scene.Source.Delays.Enqueue(s_first + 500);
        scene.Sources[1].Delays.Enqueue(Stall);
        Assert.Equal(0, scene.Read(0, 100));
        Assert.InRange(scene.Loop.Now, s_first + 500, s_first + 500 + Slack);
        AssertHedges(scene, 1, 0);
        Assert.True(scene.Sources[1].Handles.Single().IsCancelled);
        Assert.False(scene.Source.Handles.Single().IsCancelled);
    }

    [Fact]
    public void Two_answers_that_both_fail_are_followed_by_another_attempt_without_a_second_hedge()
    {
        using var scene = new BaseOnLoop(3, sources: 2);
        foreach (var source in scene.Sources)
        {
            source.Delays.Enqueue(s_first + 500);
            source.Next.Enqueue(FetchResult.Done);
            source.Next.Enqueue(s_away);
            source.Delays.Enqueue(s_first + 500);
            source.Next.Enqueue(s_away);
        }

        Assert.Equal(0, scene.Read(0, 100));
        AssertHedges(scene, 1, 0);
        Assert.Equal(SourceState.Online, scene.Storage.State);
    }

    [Fact]
    public void Mirror_that_is_another_object_does_not_help_and_is_dropped()
    {
        using var scene = new BaseOnLoop(4, sources: 2);
        scene.Sources[1].Content = scene.Content[..^1];
        scene.Source.Delays.Enqueue(2 * s_first);
        Assert.Equal(0, scene.Read(0, 100));
        AssertHedges(scene, 1, 0);
        Assert.Empty(scene.Sources[1].Reads);
        Assert.Single(scene.Reports, report => report.Contains("not used any more", StringComparison.Ordinal));
        Assert.Equal(SourceState.Online, scene.Storage.State);
    }

    [Fact]
    public void Second_answer_that_is_not_what_the_manifest_says_is_not_taken()
    {
        using var scene = new BaseOnLoop(5, sources: 2, hasProof: true);
        scene.Sources[1].Lies = true;
        scene.Source.Delays.Enqueue(2 * s_first);
        Assert.Equal(0, scene.Read(0, 100));
        AssertHedges(scene, 1, 0);
        Assert.Equal(1, scene.Storage.Counters.BadChunks);
    }

    [Fact]
    public void First_answer_that_is_not_what_the_manifest_says_waits_for_the_second()
    {
        using var scene = new BaseOnLoop(6, sources: 2, hasProof: true);
        scene.Source.Lies = true;
        scene.Source.Delays.Enqueue(s_first + 100);
        scene.Sources[1].Delays.Enqueue(500);
        Assert.Equal(0, scene.Read(0, 100));
        AssertHedges(scene, 1, 1);
        Assert.Single(scene.Sources[1].Reads);
    }

    [Fact]
    public void Source_without_a_mirror_is_asked_again_over_another_connection_if_it_has_some()
    {
        using var scene = new BaseOnLoop(7);
        scene.Source.Delays.Enqueue(s_first + 200);
        Assert.Equal(0, scene.Read(0, 100));
        AssertHedges(scene, 0, 0);

        using var other = new BaseOnLoop(8, hasOwnWays: true);
        other.Source.Delays.Enqueue(Stall);
        Assert.Equal(0, other.Read(0, 100));
        AssertHedges(other, 1, 1);
        Assert.Equal([false, true], other.Source.Handles.Select(handle => handle.NeedsOwnWay));
    }

    [Fact]
    public void Object_that_the_second_answer_shows_to_have_changed_fails_for_good()
    {
        using var scene = new BaseOnLoop(9, hasOwnWays: true);
        Assert.Equal(0, scene.Read(20 * Chunk, 100));
        scene.WaitUntilIdle();
        scene.Source.Delays.Enqueue(2 * s_first);
        scene.Source.Next.Enqueue(new FetchResult(FetchStatus.Changed, "the base changed"));
        scene.Source.Next.Enqueue(s_away);
        Assert.Equal(-Errno.EIO, scene.Read(0, 100));
        AssertHedges(scene, 1, 0);
        Assert.Equal(SourceState.Failed, scene.Storage.State);
    }

    [Fact]
    public void Close_in_the_middle_ends_both()
    {
        var scene = new BaseOnLoop(10, sources: 2);
        scene.Source.Holds = scene.Sources[1].Holds = true;
        var read = scene.ReadAsync(0, 100);
        while (scene.Sources[1].Held == 0)
            scene.Loop.Step();
        scene.Dispose();
        Assert.True(scene.Loop.RunUntilComplete(read) < 0);
        Assert.Equal(1, scene.Storage.Counters.Hedges);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_nobody_waits_for_and_what_has_begun_is_asked_for_once(bool hasBegun)
    {
        using var scene = new BaseOnLoop(11, sources: 2);
        scene.Source.Begins = hasBegun;
        scene.Source.Delays.Enqueue(5 * s_first);
        if (hasBegun)
            Assert.Equal(0, scene.Read(0, 100));
        else
            scene.Storage.FetchAhead(0, 1, pin: false);
        scene.WaitUntilIdle();
        AssertHedges(scene, 0, 0);
        Assert.True(scene.Loop.Now >= 5 * s_first);
    }

    [Fact]
    public void Chunk_that_is_fetched_ahead_is_asked_for_again_once_somebody_waits_for_it()
    {
        using var scene = new BaseOnLoop(12, sources: 2);
        scene.Source.Delays.Enqueue(Stall);
        scene.Storage.FetchAhead(0, 1, pin: false);
        scene.Sleep(2 * s_first);
        AssertHedges(scene, 0, 0);
        Assert.Equal(0, scene.Read(0, 100));
        Assert.InRange(scene.Loop.Now, 2 * s_first, (2 * s_first) + Slack);
        AssertHedges(scene, 1, 1);
    }

    [Fact]
    public void Source_that_is_slow_with_everything_is_not_asked_twice_for_everything()
    {
        using var scene = new BaseOnLoop(13, hasOwnWays: true);
        scene.Source.Depth = 16;
        for (var i = 0; i < 100; i++)
            scene.Source.Delays.Enqueue(3 * s_first);
        var reads = Enumerable.Range(0, 16).Select(i => scene.ReadAsync(2L * i * Chunk, 10)).ToArray();
        foreach (var read in reads)
            Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        Assert.Equal(HedgeRule.Burst, scene.Storage.Counters.Hedges);
    }

    [Fact]
    public void Source_that_says_that_it_is_busy_is_left_alone_for_a_while()
    {
        using var scene = new BaseOnLoop(14, sources: 2);
        Assert.Equal(0, scene.Read(30 * Chunk, 10));
        scene.Source.Next.Enqueue(s_busy);
        scene.Sources[1].Next.Enqueue(s_busy);
        Assert.Equal(0, scene.Read(0, 10));
        scene.WaitUntilIdle();
        var slow = scene.Sources.Single(source => source.Name == scene.Storage.SourceName);
        slow.Delays.Enqueue(5 * s_first);
        Assert.Equal(0, scene.Read(2 * Chunk, 10));
        AssertHedges(scene, 0, 0);

        scene.Sleep(31_000);
        slow.Delays.Enqueue(5 * s_first);
        Assert.Equal(0, scene.Read(4 * Chunk, 10));
        scene.WaitUntilIdle();
        AssertHedges(scene, 1, 1);
    }

    [Fact]
    public void Patience_is_three_times_what_answers_took_lately()
    {
        using var scene = new BaseOnLoop(15, sources: 2);
        for (var chunk = 0; chunk < 8; chunk++)
        {
            scene.Source.Delays.Enqueue(150);
            Assert.Equal(0, scene.Read(4L * chunk * Chunk, 10));
        }

        scene.WaitUntilIdle();
        scene.Source.Delays.Clear();
        scene.Source.Delays.Enqueue(Stall);
        var began = scene.Loop.Now;
        Assert.Equal(0, scene.Read(35 * Chunk, 10));
        Assert.InRange(scene.Loop.Now - began, 450, 450 + Slack);
        AssertHedges(scene, 1, 1);
    }

    [Fact]
    public void Times_are_those_of_the_last_64_and_patience_has_a_floor()
    {
        var times = new RecentTimes();
        for (var i = 1; i < 8; i++)
            times.Add(TimeSpan.FromMilliseconds(i));
        Assert.Null(times.P95);
        Assert.Equal(HedgeRule.First, HedgeRule.PatienceWith(times));
        times.Add(TimeSpan.FromMilliseconds(8));
        Assert.Equal(TimeSpan.FromMilliseconds(8), times.P95);
        Assert.Equal(HedgeRule.Shortest, HedgeRule.PatienceWith(times));
        for (var i = 1; i <= 64; i++)
            times.Add(TimeSpan.FromMilliseconds(100 * i));
        Assert.Equal(TimeSpan.FromMilliseconds(6100), times.P95);
        Assert.Equal(TimeSpan.FromMilliseconds(18_300), HedgeRule.PatienceWith(times));
    }

    [Fact]
    public void One_read_of_twenty_may_be_asked_for_twice()
    {
        var rule = new HedgeRule();
        var taken = 0;
        for (var i = 0; i < 1000; i++)
        {
            rule.CountRead();
            taken += rule.TryTake() ? 1 : 0;
        }

        Assert.Equal((1000 / HedgeRule.Share) + HedgeRule.Burst - 1, taken);
    }

    /// <summary>Answers that cannot be called off write into their memory long after another one was taken.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Random_answers_of_three_sources_are_never_mixed(bool hasProof)
    {
        for (var seed = 0; seed < 60; seed++)
        {
            using var scene = new BaseOnLoop(seed, sources: 3, hasProof: hasProof, hasCache: seed % 2 == 0, hasOwnWays: seed % 3 == 0);
            var random = new Random(seed);
            foreach (var source in scene.Sources)
            {
                source.CallsOff = random.Next(2) == 0;
                source.Depth = 8;
                for (var i = 0; i < 400; i++)
                {
                    source.Delays.Enqueue(random.Next(6) == 0 ? random.Next(6000) : random.Next(1, 30));
                    source.Next.Enqueue(random.Next(8) == 0 ? s_away : FetchResult.Done);
                }
            }

            scene.Loop.Run(async () =>
            {
                for (var round = 0; round < 10; round++)
                {
                    var group = TaskGroup.Rent();
                    for (var i = 0; i < 6; i++)
                        group.Add(scene.ReadAsync(random.Next(scene.Content.Length), random.Next(1, 3 * Chunk)));
                    Assert.Equal(0, await group.WaitAsync());
                }

                return 0;
            });
            Assert.True(scene.Storage.Counters.HedgeWins <= scene.Storage.Counters.Hedges);
        }
    }

    private static void AssertHedges(BaseOnLoop scene, int hedges, int wins) =>
        Assert.Equal((hedges, wins), ((int)scene.Storage.Counters.Hedges, (int)scene.Storage.Counters.HedgeWins));
}
