using System;
using System.Linq;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

public class RemoteStorageTests
{
    private const int Chunk = BaseOnLoop.Chunk;

    private static readonly FetchResult s_away = new(FetchStatus.Unavailable, "nobody answers");

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Random_reads_give_the_bytes_of_the_source(bool hasCache)
    {
        for (var seed = 0; seed < 20; seed++)
        {
            using var scene = new BaseOnLoop(seed, hasCache: hasCache);
            var random = new Random(seed);
            scene.Loop.Run(async () =>
            {
                for (var round = 0; round < 20; round++)
                {
                    var group = TaskGroup.Rent();
                    for (var i = 0; i < 8; i++)
                        group.Add(scene.ReadAsync(random.Next(scene.Content.Length + 5000), random.Next(1, 5 * Chunk)));
                    Assert.Equal(0, await group.WaitAsync());
                }

                return 0;
            });
            if (hasCache)
                Assert.Equal(scene.Source.Reads.Distinct().Count(), scene.Source.Reads.Count);
        }
    }

    [Fact]
    public void Chunk_is_fetched_once_however_many_wait_for_it()
    {
        using var scene = new BaseOnLoop(1);
        scene.Source.Holds = true;
        var reads = Enumerable.Range(0, 20).Select(i => scene.ReadAsync(i * 100, 100)).ToArray();
        while (scene.Source.Held == 0)
            scene.Loop.Step();
        scene.Source.LetGo();
        foreach (var read in reads)
            Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        Assert.Single(scene.Source.Reads);
        Assert.Equal(20, scene.Storage.Counters.Misses);
    }

    [Fact]
    public void What_nobody_has_begun_to_fetch_keeps_no_base_open()
    {
        using var scene = new BaseOnLoop(1);
        scene.Source.Holds = true;
        scene.Source.Depth = 1;
        scene.ReadAsync(0, 100).Forget();
        var read = scene.ReadAsync(3 * Chunk, 100);
        scene.Storage.FetchAhead(5 * Chunk, 10 * Chunk, pin: false);
        while (scene.Source.Held == 0 || scene.Storage.Counters.Misses < 2)
            scene.Loop.Step();
        scene.Storage.Dispose();
        Assert.Equal(-Errno.EIO, scene.Loop.RunUntilComplete(read));
    }

    [Fact]
    public void What_is_stored_is_not_fetched_again()
    {
        using var scene = new BaseOnLoop(1);
        Assert.Equal(0, scene.Read(5, 100));
        scene.WaitUntilIdle();
        Assert.Equal(0, scene.Read(500, 100));
        Assert.Single(scene.Source.Reads);
        Assert.Equal(1, scene.Storage.Counters.Hits);
        Assert.Equal(Chunk, scene.Storage.StoredBytes);
    }

    /// <summary>The tenth chunk is zeroes, and the source knows it.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Zeroes_that_the_source_knows_are_kept_and_not_counted_as_fetched(bool hasCache)
    {
        using var scene = new BaseOnLoop(1, hasCache: hasCache);
        scene.Source.KnowsZeroes = offset => offset == 10 * Chunk;

        Assert.Equal(0, scene.Read((9 * Chunk) + 100, 2 * Chunk));
        scene.WaitUntilIdle();

        Assert.Equal([9 * Chunk, 11 * Chunk], scene.Source.Reads);
        Assert.Equal(2, scene.Storage.Counters.Fetches);
        Assert.Equal(2 * Chunk, scene.Storage.Counters.FetchedBytes);
        Assert.Equal(2, scene.Storage.Counters.Times.Requests(IoKind.Read));
        Assert.Equal(hasCache ? 3 * Chunk : 0, scene.Storage.StoredBytes);
        scene.Source.KnowsZeroes = null;
        Assert.Equal(0, scene.Read(10 * Chunk, Chunk));
        Assert.Equal(hasCache ? 2 : 3, scene.Source.Reads.Count);
    }

    [Fact]
    public void Reading_ahead_leaves_out_what_the_image_does_not_refer_to()
    {
        using var scene = new BaseOnLoop(1);
        var used = new UsedChunks(scene.Content.Length, Chunk);
        used.Add(0, 12 * Chunk);
        used.Add((20 * Chunk) - 1, 2);
        used.Add(-1, 5);
        used.Add(scene.Content.Length - 1, long.MaxValue);
        used.Add(scene.Content.Length, 1);
        scene.Storage.Used = used;

        for (var chunk = 0; chunk < 12; chunk++)
            Assert.Equal(0, scene.Read(chunk * Chunk, Chunk));
        scene.WaitUntilIdle();

        Assert.Equal(15, used.Count);
        Assert.All(scene.Source.Reads, offset => Assert.True(used.Contains(offset / Chunk), $"{offset} was read ahead"));
        Assert.Contains(19L * Chunk, scene.Source.Reads);
        Assert.Equal(0, scene.Read(15 * Chunk, 10));
    }

    [Fact]
    public void Attempts_that_fail_are_made_again_and_nothing_of_them_is_used()
    {
        using var scene = new BaseOnLoop(2);
        Assert.Equal(0, scene.Read(0, 10));
        for (var i = 0; i < 3; i++)
            scene.Source.Next.Enqueue(s_away);
        Assert.Equal(0, scene.Read(7 * Chunk, 2 * Chunk));
        Assert.InRange(scene.Storage.Counters.Retries, 2, 3);
        Assert.Equal(SourceState.Online, scene.Storage.State);
        Assert.Single(scene.Reports, report => report.Contains("nobody answers", StringComparison.Ordinal));
    }

    [Fact]
    public void Request_waits_for_a_source_that_is_away_and_then_fails()
    {
        using var scene = new BaseOnLoop(3, settings: new RemoteSettings { SourceTimeout = TimeSpan.FromSeconds(1) });
        Assert.Equal(0, scene.Read(0, 10));
        scene.WaitUntilIdle();
        scene.Source.Always = s_away;
        var read = scene.ReadAsync(4 * Chunk, 10);
        while (scene.Storage.Parked == 0)
            scene.Loop.Step();
        Assert.Equal(SourceState.WaitingForSource, scene.Storage.State);
        Assert.Equal("nobody answers", scene.Storage.Trouble);

        // What is stored is read meanwhile.
        Assert.Equal(0, scene.Read(10, 10));
        Assert.Equal(-Errno.EIO, scene.Loop.RunUntilComplete(read));
        Assert.Equal(0, scene.Storage.Parked);
        scene.Source.Always = null;

        // The pause before the next attempt may be longer than this request's patience.
        var error = -Errno.EIO;
        for (var tries = 0; tries < 20 && error != 0; tries++)
            error = scene.Read(4 * Chunk, 10);
        Assert.Equal(0, error);
    }

    [Fact]
    public void Object_that_has_changed_fails_for_good()
    {
        using var scene = new BaseOnLoop(4);
        Assert.Equal(0, scene.Read(0, 10));
        scene.WaitUntilIdle();
        scene.Source.Next.Enqueue(new FetchResult(FetchStatus.Changed, "the base changed"));
        Assert.Equal(-Errno.EIO, scene.Read(3 * Chunk, 10));
        Assert.Equal(-Errno.EIO, scene.Read(5 * Chunk, 10));
        Assert.Equal(0, scene.Read(10, 10));
        Assert.Equal(SourceState.Failed, scene.Storage.State);
        Assert.Equal("the base changed", scene.Storage.Trouble);
        Assert.Equal([0, 3 * Chunk], scene.Source.Reads);
    }

    [Fact]
    public void Source_that_has_changed_since_the_cache_was_filled_is_read_by_nobody()
    {
        using var scene = new BaseOnLoop(16);
        scene.Source.OpenDelays.Enqueue(5);
        scene.Source.Next.Enqueue(new FetchResult(FetchStatus.Changed, "the base changed"));
        var reads = Enumerable.Range(0, 4).Select(i => scene.ReadAsync(i * 2L * Chunk, 10)).ToArray();
        foreach (var read in reads)
            Assert.Equal(-Errno.EIO, scene.Loop.RunUntilComplete(read));
        Assert.Empty(scene.Source.Reads);
        Assert.Equal(1, scene.Source.Opens);
    }

    [Fact]
    public void Opening_that_fails_is_told_once_also_if_the_next_one_succeeds_at_once()
    {
        for (var seed = 1; seed <= 20; seed++)
        {
            using var scene = new BaseOnLoop(seed);
            scene.Source.Next.Enqueue(s_away);
            scene.Source.OpenDelays.Enqueue(5);
            var reads = new[] { scene.ReadAsync(0, 10), scene.ReadAsync(2 * Chunk, 10) };
            Assert.All(reads, read => Assert.Equal(0, scene.Loop.RunUntilComplete(read)));
            Assert.Equal(["nobody answers: trying again", "https://server0/base answers again"], scene.Reports);
        }
    }

    [Fact]
    public void Chunk_that_is_not_what_the_manifest_says_comes_from_the_next_mirror()
    {
        using var scene = new BaseOnLoop(5, sources: 2, hasProof: true);
        scene.Source.Lies = true;
        Assert.Equal(0, scene.Read(0, 3 * Chunk));
        Assert.True(scene.Storage.Counters.BadChunks > 0);
        Assert.NotEmpty(scene.Sources[1].Reads);
        Assert.Equal("https://server1/base", scene.Storage.SourceName);
    }

    [Fact]
    public void Chunk_that_no_source_gives_rightly_is_an_error_and_never_data()
    {
        using var scene = new BaseOnLoop(6, sources: 2, hasProof: true);
        scene.Sources.ForEach(source => source.Lies = true);
        Assert.Equal(-Errno.EIO, scene.Read(0, 10));
        Assert.Empty(scene.Cache!.Stored);
        Assert.Equal(0, scene.Cache.Claims);
        scene.Sources.ForEach(source => source.Lies = false);
        Assert.Equal(0, scene.Read(0, 10));
    }

    [Fact]
    public void Mirror_takes_over_at_once_where_the_first_source_is_away()
    {
        using var scene = new BaseOnLoop(7, sources: 2, hasProof: true);
        scene.Source.Always = s_away;
        Assert.Equal(0, scene.Read(0, 2 * Chunk));
        Assert.Equal(0, scene.Storage.Counters.Retries);
        Assert.Equal(SourceState.Online, scene.Storage.State);
        Assert.Empty(scene.Reports);
    }

    [Fact]
    public void Mirror_of_another_length_is_not_used()
    {
        using var scene = new BaseOnLoop(8, sources: 2, hasProof: true);
        scene.Sources[1].Content = scene.Content[..^1];
        scene.Source.Next.Enqueue(s_away);
        scene.Source.Next.Enqueue(s_away);
        Assert.Equal(0, scene.Read(0, 10));
        Assert.Empty(scene.Sources[1].Reads);
        Assert.Single(scene.Reports, report => report.Contains("not used any more", StringComparison.Ordinal));
    }

    [Fact]
    public void Zeroes_that_the_manifest_knows_are_not_fetched()
    {
        using var scene = new BaseOnLoop(9, hasProof: true);
        Assert.Equal(0, scene.Read((10 * Chunk) + 7, 1000));
        scene.Storage.FetchAhead(10 * Chunk, Chunk, pin: true);
        scene.WaitUntilIdle();
        Assert.Empty(scene.Source.Reads);
    }

    [Fact]
    public void Requests_come_before_what_is_fetched_ahead()
    {
        using var scene = new BaseOnLoop(10);
        scene.Source.Depth = 2;
        scene.Source.Holds = true;
        scene.Storage.FetchAhead(0, 20 * Chunk, pin: true);
        var read = scene.ReadAsync(30 * Chunk, 10);
        while (scene.Source.Held < 2)
            scene.Loop.Step();
        scene.Source.LetGo();
        Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        Assert.True(scene.Source.Reads.IndexOf(30L * Chunk) <= 3);
        scene.WaitUntilIdle();
        Assert.Contains(3L, scene.Cache!.Pinned);
        Assert.Equal(21, scene.Cache.Stored.Count);
    }

    [Fact]
    public void Sequence_of_reads_is_fetched_ahead()
    {
        using var scene = new BaseOnLoop(11);
        for (var chunk = 0; chunk < 8; chunk++)
        {
            Assert.Equal(0, scene.Read(chunk * Chunk, Chunk));
            scene.WaitUntilIdle();
        }

        Assert.True(scene.Cache!.Stored.Count > 10, $"{scene.Cache.Stored.Count} chunks are stored");
        Assert.True(scene.Storage.Counters.Misses < 6, $"{scene.Storage.Counters.Misses} reads waited");
    }

    [Fact]
    public void Base_is_local_once_it_is_filled()
    {
        using var scene = new BaseOnLoop(12, settings: new RemoteSettings { FillAfter = TimeSpan.FromMilliseconds(20) }, hasProof: true);
        while (!scene.Storage.IsLocal)
            scene.Loop.Step();
        Assert.Equal(SourceState.Local, scene.Storage.State);
        Assert.DoesNotContain(10L * Chunk, scene.Source.Reads);
        scene.Source.Always = s_away;
        Assert.Equal(0, scene.Read(0, 30 * Chunk));
    }

    [Fact]
    public void Fill_gives_up_where_nothing_is_kept()
    {
        using var scene = new BaseOnLoop(13, settings: new RemoteSettings { FillAfter = TimeSpan.Zero });
        scene.Cache!.Keeps = false;
        while (scene.Reports.Count == 0)
            scene.Loop.Step();
        Assert.Contains("does not keep", scene.Reports[0], StringComparison.Ordinal);
        Assert.InRange(scene.Source.Reads.Count, 1, 8);
    }

    [Fact]
    public void Close_ends_requests_that_wait()
    {
        var scene = new BaseOnLoop(14);
        scene.Source.Holds = true;
        var read = scene.ReadAsync(0, 10);
        while (scene.Source.Held == 0)
            scene.Loop.Step();
        scene.Dispose();
        Assert.True(read.IsCompleted);
        Assert.True(scene.Loop.RunUntilComplete(read) < 0);
    }

    [Fact]
    public void Nothing_is_read_of_a_base_that_was_closed()
    {
        using var scene = new BaseOnLoop(17);
        Assert.Equal(0, scene.Read(0, 10));
        scene.WaitUntilIdle();

        // The first one is at the cache when it is closed.
        var read = scene.ReadAsync(3 * Chunk, 10);
        scene.Storage.Dispose();
        Assert.Equal(-Errno.ESHUTDOWN, scene.Loop.RunUntilComplete(read));
        Assert.Equal(-Errno.ESHUTDOWN, scene.Read(0, 10));
        scene.WaitUntilIdle();
        scene.Loop.RunUntilIdle();
        Assert.Equal(-Errno.ESHUTDOWN, scene.Read(0, 10));
    }

    [Fact]
    public void Nothing_is_written()
    {
        using var scene = new BaseOnLoop(15);
        var buffer = scene.Loop.Buffers.Rent(512);
        Assert.Equal(-Errno.EROFS, scene.Loop.RunUntilComplete(scene.Storage.WriteAsync(0, buffer)));
        Assert.Equal(-Errno.EROFS, scene.Loop.RunUntilComplete(scene.Storage.PunchAsync(0, 512)));
        Assert.Equal(-Errno.EROFS, scene.Loop.RunUntilComplete(scene.Storage.SetLengthAsync(0)));
        scene.Loop.Buffers.Return(buffer);
    }
}
