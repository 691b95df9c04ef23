using System;
using System.Linq;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>When a source is asked again after it has failed, and when it is not.</summary>
public class RetryTests
{
    private const int Chunk = BaseOnLoop.Chunk;

    // What the first pause may be by itself, and what a nap in it adds.
    private const int Slack = 400;

    private static readonly FetchResult s_away = new(FetchStatus.Unavailable, "nobody answers");
    private static readonly FetchResult s_changed = new(FetchStatus.Changed, "the base changed");

    [Theory]
    [InlineData(10, 10)]
    [InlineData(3600, 30)]
    public void Source_is_left_alone_for_as_long_as_it_asks_within_reason(int asked, int left)
    {
        using var scene = Opened(1);
        scene.Source.Next.Enqueue(s_away with { RetryAfter = TimeSpan.FromSeconds(asked) });
        var began = scene.Loop.Now;
        Assert.Equal(0, scene.Read(0, 10));
        Assert.InRange(scene.Loop.Now - began, left * 1000, (left * 1000) + Slack);
    }

    [Fact]
    public void Source_that_cannot_be_opened_is_left_alone_for_as_long_as_it_asks()
    {
        using var scene = new BaseOnLoop(2);
        scene.Source.Next.Enqueue(s_away with { RetryAfter = TimeSpan.FromSeconds(10) });
        var pool = new SourcePool([scene.Source], null, null, scene.Storage.Counters, scene.Reports.Add)
        {
            Clock = () => scene.Loop.Now * System.Diagnostics.Stopwatch.Frequency / 1000,
        };
        Assert.Equal(0, scene.Loop.RunUntilComplete(pool.OpenAsync(TimeSpan.FromSeconds(15))));
        Assert.InRange(scene.Loop.Now, 10_000, 10_000 + Slack);
    }

    [Fact]
    public void Opening_ends_with_the_patience_of_who_waits()
    {
        using var scene = new BaseOnLoop(3);
        scene.Source.Always = s_away;
        var pool = new SourcePool([scene.Source], null, null, scene.Storage.Counters, scene.Reports.Add)
        {
            Clock = () => scene.Loop.Now * System.Diagnostics.Stopwatch.Frequency / 1000,
        };
        Assert.Equal(-Errno.ETIMEDOUT, scene.Loop.RunUntilComplete(pool.OpenAsync(TimeSpan.FromSeconds(5))));
        Assert.InRange(scene.Loop.Now, 0, 5000);
        Assert.True(scene.Source.Opens > 1);
        scene.Source.Always = null;
    }

    [Fact]
    public void Source_that_will_never_do_is_not_tried_again()
    {
        using var scene = new BaseOnLoop(12);
        scene.Source.Next.Enqueue(new FetchResult(FetchStatus.Unfit, "it sends no ranges"));
        var pool = new SourcePool([scene.Source], null, null, scene.Storage.Counters, scene.Reports.Add);
        Assert.Equal(-Errno.EIO, scene.Loop.RunUntilComplete(pool.OpenAsync(TimeSpan.FromSeconds(20))));
        Assert.Equal((1, "it sends no ranges"), (scene.Source.Opens, pool.Failure));
    }

    /// <summary>The same bytes have another entity tag at another server: what a mirror has to be is as long.</summary>
    [Fact]
    public void Mirror_need_not_have_the_version_of_the_first_source()
    {
        using var scene = new BaseOnLoop(13);
        var mirror = new FakeSource("https://mirror/base", scene.Content, version: "\"another\"");
        var pool = new SourcePool([scene.Source, mirror], null, null, scene.Storage.Counters, scene.Reports.Add);
        Assert.Equal(0, scene.Loop.RunUntilComplete(pool.OpenAsync(TimeSpan.FromSeconds(20))));
        Assert.Equal("\"one\"", pool.Identity!.Value.Version);
        scene.Source.Next.Enqueue(s_away);
        var (error, buffer) = scene.Loop.RunUntilComplete(pool.ReadAsync(0, 0, scene.Loop.Buffers.Rent(Chunk), () => true));
        Assert.Equal(0, error);
        Assert.Equal([0L], mirror.Reads);
        scene.Loop.Buffers.Return(buffer);
    }

    [Fact]
    public void Answer_to_one_ends_the_pause_of_the_others()
    {
        using var scene = Opened(4);
        scene.Source.Next.Enqueue(s_away with { RetryAfter = TimeSpan.FromSeconds(20) });
        var began = scene.Loop.Now;
        var read = scene.ReadAsync(0, 10);
        while (scene.Storage.Trouble is null)
            scene.Loop.Step();
        Assert.Equal(0, scene.Read(5 * Chunk, 10));
        Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        Assert.InRange(scene.Loop.Now - began, 0, Slack);
    }

    [Fact]
    public void What_nobody_waits_for_is_not_asked_for_again()
    {
        using var scene = Opened(5);
        scene.Source.Always = s_away;
        scene.Storage.FetchAhead(0, 1, pin: false);
        scene.Sleep(60_000);
        Assert.True(scene.Storage.IsIdle);
        Assert.Equal(2, scene.Source.Reads.Count);
        Assert.Equal(0, scene.Storage.Counters.Retries);
        scene.Source.Always = null;
    }

    [Fact]
    public void Source_is_opened_once_however_many_ask()
    {
        using var scene = new BaseOnLoop(11);
        scene.Source.OpenDelays.Enqueue(5);
        var reads = Enumerable.Range(0, 4).Select(i => scene.ReadAsync(2L * i * Chunk, 10)).ToArray();
        foreach (var read in reads)
            Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        Assert.Equal(1, scene.Source.Opens);
    }

    [Fact]
    public void Source_that_has_become_another_object_is_never_read_again()
    {
        using var scene = Opened(6, sources: 2);
        scene.Source.Next.Enqueue(s_changed);
        Assert.Equal(0, scene.Read(0, 10));
        scene.WaitUntilIdle();
        var asked = scene.Source.Handles.Count;
        for (var i = 0; i < 3; i++)
            scene.Sources[1].Next.Enqueue(s_away);
        Assert.Equal(0, scene.Read(2 * Chunk, 10));
        Assert.Equal(asked, scene.Source.Handles.Count);
        Assert.InRange(scene.Storage.Counters.Retries, 3, 3);
    }

    [Fact]
    public void Chunk_that_is_not_what_the_manifest_says_is_asked_for_again_at_once()
    {
        using var scene = new BaseOnLoop(10, hasProof: true);
        scene.Source.Lies = true;
        var read = scene.ReadAsync(0, 10);
        while (scene.Storage.Counters.BadChunks == 0)
            scene.Loop.Step();
        var began = scene.Loop.Now;
        scene.Source.Lies = false;
        Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        Assert.InRange(scene.Loop.Now - began, 0, 5);
        Assert.Equal(1, scene.Storage.Counters.Retries);
    }

    /// <summary>A source is told what it has to be; what it then says that it is counts as well.</summary>
    [Fact]
    public void Mirror_that_says_that_it_is_longer_is_not_read()
    {
        using var scene = new BaseOnLoop(7, sources: 2);
        scene.Sources[1].Content = [.. scene.Content, 1];
        scene.Sources[1].ComparesNothing = true;
        scene.Source.Next.Enqueue(s_away);
        Assert.Equal(0, scene.Read(0, 10));
        Assert.Empty(scene.Sources[1].Handles);
        Assert.Single(scene.Reports, report => report.Contains($"has {scene.Content.Length + 1} bytes", StringComparison.Ordinal));
    }

    [Fact]
    public void Requests_fail_at_once_while_nobody_is_to_wait()
    {
        using var scene = Opened(8);
        scene.Source.Always = s_away;
        var read = scene.ReadAsync(0, 10);
        while (scene.Storage.Parked == 0)
            scene.Loop.Step();
        var began = scene.Loop.Now;
        scene.Storage.SetPatience(false);
        Assert.Equal(-Errno.EIO, scene.Loop.RunUntilComplete(read));
        Assert.Equal(-Errno.EIO, scene.Read(2 * Chunk, 10));
        Assert.InRange(scene.Loop.Now - began, 0, Slack);

        scene.Storage.SetPatience(true);
        read = scene.ReadAsync(4 * Chunk, 10);
        while (scene.Storage.Parked == 0)
            scene.Loop.Step();
        scene.Source.Always = null;
        Assert.Equal(0, scene.Loop.RunUntilComplete(read));
    }

    [Theory]
    [InlineData(-1, 5)]
    [InlineData(long.MinValue, long.MaxValue)]
    [InlineData(long.MaxValue, long.MaxValue)]
    [InlineData((40 * Chunk) + 1000, 1)]
    [InlineData(0, 0)]
    [InlineData(5, -1)]
    [InlineData(5, long.MinValue)]
    public void Nothing_is_fetched_ahead_that_is_not_of_the_base(long offset, long length)
    {
        using var scene = Opened(9);
        scene.Storage.FetchAhead(offset, length, pin: true);
        Assert.True(scene.Storage.IsIdle);
        scene.Storage.FetchAhead(scene.Content.Length - 1, long.MaxValue, pin: true);
        scene.WaitUntilIdle();
        Assert.Equal([39L * Chunk, 40L * Chunk], scene.Source.Reads);
    }

    /// <summary>A base whose source was opened by the read of its last whole chunk.</summary>
    private static BaseOnLoop Opened(int seed, int sources = 1)
    {
        var scene = new BaseOnLoop(seed, sources: sources);
        Assert.Equal(0, scene.Read(39 * Chunk, 10));
        scene.WaitUntilIdle();
        return scene;
    }
}
