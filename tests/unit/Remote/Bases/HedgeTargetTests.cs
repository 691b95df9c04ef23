using System.Linq;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>Who is asked for what a source is slow with: nobody who is busy, away or dropped.</summary>
public class HedgeTargetTests
{
    private const int Chunk = BaseOnLoop.Chunk;

    private static readonly int s_first = (int)HedgeRule.First.TotalMilliseconds;
    private static readonly FetchResult s_away = new(FetchStatus.Unavailable, "nobody answers");
    private static readonly FetchResult s_busy = new(FetchStatus.Unavailable, "slow down", IsBusy: true);

    [Fact]
    public void What_a_busy_source_is_slow_with_is_not_asked_for_elsewhere()
    {
        using var scene = Opened(1);
        scene.Source.Delays.Enqueue(3 * s_first);
        var slow = scene.ReadAsync(0, 10);
        while (scene.Source.Handles.Count < 2)
            scene.Loop.Step();
        scene.Source.Next.Enqueue(s_busy);
        Assert.Equal(0, scene.Read(2 * Chunk, 10));
        Assert.Equal(0, scene.Loop.RunUntilComplete(slow));
        Assert.Equal(0, scene.Storage.Counters.Hedges);
    }

    [Fact]
    public void Mirror_that_was_busy_a_moment_ago_is_not_asked()
    {
        using var scene = Opened(2);
        scene.Sources[1].Next.Enqueue(FetchResult.Done);
        scene.Sources[1].Next.Enqueue(s_busy);
        for (var i = 0; i < 3; i++)
            scene.Source.Delays.Enqueue(4 * s_first);
        var reads = Enumerable.Range(0, 2).Select(i => scene.ReadAsync(2L * i * Chunk, 10)).ToArray();
        foreach (var read in reads)
            Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        Assert.Equal((2, 1), (scene.Storage.Counters.Hedges, scene.Storage.Counters.HedgeWins));

        Assert.Equal(0, scene.Read(6 * Chunk, 10));
        Assert.Equal(2, scene.Storage.Counters.Hedges);
    }

    [Fact]
    public void Mirror_that_was_away_a_moment_ago_is_not_asked()
    {
        using var scene = Opened(3);
        scene.Source.Next.Enqueue(s_away);
        scene.Sources[1].Next.Enqueue(s_away);
        Assert.Equal(0, scene.Read(0, 10));
        Assert.Equal("https://server0/base", scene.Storage.SourceName);
        scene.Source.Delays.Enqueue(3 * s_first);
        Assert.Equal(0, scene.Read(2 * Chunk, 10));
        Assert.Equal(0, scene.Storage.Counters.Hedges);

        scene.Sleep(31_000);
        scene.Source.Delays.Enqueue(3 * s_first);
        Assert.Equal(0, scene.Read(4 * Chunk, 10));
        Assert.Equal(1, scene.Storage.Counters.HedgeWins);
    }

    [Fact]
    public void Mirror_that_has_become_another_object_is_not_asked()
    {
        using var scene = Opened(4);
        scene.Source.Next.Enqueue(s_away);
        scene.Sources[1].Next.Enqueue(FetchResult.Done);
        scene.Sources[1].Next.Enqueue(new FetchResult(FetchStatus.Changed, "the base changed"));
        Assert.Equal(0, scene.Read(0, 10));
        scene.Sleep(31_000);
        var asked = scene.Sources[1].Handles.Count;
        scene.Source.Delays.Enqueue(3 * s_first);
        Assert.Equal(0, scene.Read(2 * Chunk, 10));
        Assert.Equal(0, scene.Storage.Counters.Hedges);
        Assert.Equal(asked, scene.Sources[1].Handles.Count);
    }

    [Fact]
    public void Source_that_was_left_for_its_silence_is_not_asked_for_what_the_mirror_is_slow_with()
    {
        using var scene = Opened(5);
        for (var chunk = 0; chunk < 3; chunk++)
        {
            scene.Source.Delays.Enqueue(10_000);
            Assert.Equal(0, scene.Read(2 * chunk * Chunk, 10));
        }

        Assert.Equal("https://server1/base", scene.Storage.SourceName);
        scene.Sources[1].Delays.Enqueue(2 * s_first);
        Assert.Equal(0, scene.Read(10 * Chunk, 10));
        Assert.Equal(3, scene.Storage.Counters.Hedges);
    }

    /// <summary>Both answers have memory of their own, which goes back however the two of them end.</summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public void Memory_of_the_answer_that_is_not_taken_goes_back(bool callsOff, bool secondFails)
    {
        using var scene = new BaseOnLoop(6, hasCache: false, hasOwnWays: true);
        scene.Source.CallsOff = callsOff;
        var mapped = 0L;
        for (var round = 0; round < 40; round++)
        {
            // A hedge for each twenty reads.
            for (var i = 0; i < HedgeRule.Share; i++)
                Assert.Equal(0, scene.Read((2 * i) * Chunk, 10));
            scene.Source.Next.Clear();
            if (secondFails)
                scene.Source.Next.Enqueue(s_away);
            scene.Source.Delays.Enqueue(secondFails ? s_first + 500 : 10_000);
            Assert.Equal(0, scene.Read(5 * Chunk, 10));
            scene.Sleep(11_000);
            if (round == 4)
                mapped = scene.Loop.Buffers.MappedBytes;
        }

        Assert.Equal(40, scene.Storage.Counters.Hedges);
        Assert.Equal(secondFails ? 0 : 40, scene.Storage.Counters.HedgeWins);
        Assert.Equal(mapped, scene.Loop.Buffers.MappedBytes);
    }

    [Fact]
    public void Mirror_that_does_not_answer_what_another_may_answer_is_no_trouble()
    {
        using var scene = Opened(9);
        scene.Sources[1].Always = s_away;
        scene.Source.Delays.Enqueue(3 * s_first);
        var read = scene.ReadAsync(0, 10);
        scene.Sleep(2 * s_first);
        Assert.Equal(1, scene.Storage.Counters.Hedges);
        Assert.Null(scene.Storage.Trouble);
        Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        Assert.Empty(scene.Reports);
    }

    [Fact]
    public void Zeroes_that_a_source_knew_say_nothing_of_how_long_it_takes()
    {
        using var scene = new BaseOnLoop(7, sources: 2, hasCache: false);
        scene.Source.KnowsZeroes = offset => offset == 10 * Chunk;
        for (var i = 0; i < 10; i++)
            Assert.Equal(0, scene.Read(10 * Chunk, 10));
        var began = scene.Loop.Now;
        scene.Source.Delays.Enqueue(10_000);
        Assert.Equal(0, scene.Read(0, 10));
        Assert.InRange(scene.Loop.Now - began, s_first, s_first + 60);
    }

    /// <summary>The memory of an answer that nobody waits for is the source's until it has ended.</summary>
    [Fact]
    public void Close_waits_for_the_answer_that_was_not_taken()
    {
        using var scene = Opened(8);
        scene.Source.CallsOff = false;
        scene.Source.Lingers = true;
        scene.Source.Delays.Enqueue(10_000);
        Assert.Equal(0, scene.Read(0, 10));
        scene.WaitUntilIdle();
        scene.Storage.Dispose();
        scene.Sleep(5000);
        Assert.False(scene.Cache!.IsDisposed);
        scene.Sleep(6000);
        Assert.True(scene.Cache.IsDisposed);
    }

    /// <summary>A base whose first source was opened by the read of its last whole chunk.</summary>
    private static BaseOnLoop Opened(int seed)
    {
        var scene = new BaseOnLoop(seed, sources: 2);
        Assert.Equal(0, scene.Read(39 * Chunk, 10));
        scene.WaitUntilIdle();
        return scene;
    }
}
