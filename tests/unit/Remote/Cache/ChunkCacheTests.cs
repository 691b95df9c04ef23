using System;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Remote.Cache;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Cache;

public sealed class ChunkCacheTests : IDisposable
{
    private const int Chunk = CacheScene.ChunkBytes;

    private readonly CacheScene _scene = new();

    [Fact]
    public void What_is_stored_is_read_back_by_this_cache_and_by_others()
    {
        using var first = _scene.Open();
        using var second = _scene.Open();
        Assert.False(_scene.Has(first, 2));
        _scene.Fill(first, 2, 4);
        foreach (var cache in (ChunkCache[])[first, second])
        {
            Assert.True(cache.IsStored(2));
            Assert.True(_scene.Has(cache, 2));
            Assert.True(_scene.Has(cache, 4));
            Assert.False(_scene.Has(cache, 3));
            Assert.Equal(_scene.BytesOf(4).AsSpan(100, 50).ToArray(), _scene.Read(cache, (4 * Chunk) + 100, 50));
        }

        Assert.Equal(Chunk + (Chunk - 1000), second.StoredBytes);
    }

    [Fact]
    public void What_is_stored_is_there_after_all_have_closed_it()
    {
        using (var cache = _scene.Open())
            _scene.Fill(cache, 0, 1, 2, 3, 4);
        using var again = _scene.Open();
        for (var chunk = 0; chunk < 5; chunk++)
            Assert.True(_scene.Has(again, chunk));
        Assert.Equal(_scene.Key.Length, again.StoredBytes);
    }

    /// <summary>A hole is as good as what its checksum says, like any other bytes.</summary>
    [Fact]
    public void Zeroes_take_no_room_and_are_verified_as_all_else()
    {
        var zeroes = new byte[Chunk];
        using (var cache = _scene.Open())
        {
            // Something is where they go.
            using (var data = File.OpenWrite(Path.Combine(_scene.Entry, "data")))
                data.Write(_scene.BytesOf(0));
            foreach (var chunk in (long[])[0, 1])
            {
                Assert.Equal(1, _scene.Claim(cache, chunk));
                Assert.Equal(1, _scene.Store(cache, chunk, bytes: zeroes));
            }

            Assert.Equal(zeroes, _scene.ReadChunk(cache, 0));
            Assert.Equal(2 * Chunk, cache.StoredBytes);
            Assert.Equal(0, CacheRoomTests.DataBlocks(_scene.Entry));
        }

        using (var data = File.OpenWrite(Path.Combine(_scene.Entry, "data")))
        {
            data.Position = Chunk + 5;
            data.WriteByte(1);
        }

        using var again = _scene.Open();
        Assert.Equal(zeroes, _scene.ReadChunk(again, 0));
        Assert.Null(_scene.ReadChunk(again, 1));
    }

    /// <summary>The memory that it is written from held other things before.</summary>
    [Fact]
    public void Behind_the_base_there_are_zeroes()
    {
        using var cache = _scene.Open();
        _scene.Run(() =>
        {
            var pool = LoopScheduler.Current.Buffers;
            var buffers = Enumerable.Range(0, 8).Select(_ => pool.Rent(Chunk)).ToList();
            foreach (var buffer in buffers)
            {
                buffer.Span.Fill(0xee);
                pool.Return(buffer);
            }

            return new LoopTask<int>(0);
        });
        _scene.Fill(cache, 0, 1, 2, 3, 4);
        var data = File.ReadAllBytes(Path.Combine(_scene.Entry, "data"));
        Assert.Equal(5 * Chunk, data.Length);
        Assert.False(data.AsSpan((int)_scene.Key.Length).ContainsAnyExcept((byte)0));
    }

    [Fact]
    public void What_is_stored_is_counted_now_and_then_and_of_a_closed_cache_nothing_is()
    {
        var cache = _scene.Open();
        Assert.Equal(0, cache.StoredBytes);
        _scene.Fill(cache, 0, 1);
        Assert.True(SpinWait.SpinUntil(() => cache.StoredBytes == 2 * Chunk, 10_000));
        cache.Dispose();
        Assert.Equal(0, cache.StoredBytes);
    }

    /// <summary>The numbers of its files may be those of others by then.</summary>
    [Fact]
    public void Nothing_is_there_of_a_closed_cache()
    {
        var cache = _scene.Open();
        _scene.Fill(cache, 1);
        Assert.True(_scene.Has(cache, 1));
        Assert.True(cache.IsThere(Chunk, 10, out var mark));
        cache.Dispose();
        Assert.False(cache.IsStill(Chunk, 10, mark));
        Assert.False(cache.IsThere(Chunk, 10, out _));
        Assert.False(cache.IsStored(1));
    }

    [Fact]
    public void A_range_is_there_once_this_process_has_verified_all_of_its_chunks()
    {
        using var writer = _scene.Open();
        using var cache = _scene.Open();
        _scene.Fill(writer, 1, 2);
        Assert.False(cache.IsThere(Chunk, 1, out _));
        Assert.True(_scene.Has(cache, 1));
        Assert.True(cache.IsThere(Chunk, Chunk, out var mark));
        Assert.True(cache.IsStill(Chunk, Chunk, mark));
        Assert.False(cache.IsThere(Chunk, Chunk + 1, out _));
        Assert.True(_scene.Has(cache, 2));
        Assert.True(cache.IsThere(Chunk + 5, (2 * Chunk) - 10, out var both));
        Assert.True(cache.IsStill(Chunk + 5, (2 * Chunk) - 10, both));
        Assert.NotEqual(mark, both);
    }

    [Theory]
    [InlineData(-1, 10)]
    [InlineData(long.MinValue, 10)]
    [InlineData(0, 0)]
    [InlineData((5 * Chunk) - 1000, 1)]
    [InlineData((5 * Chunk) - 1001, 2)]
    [InlineData(long.MaxValue, 1)]
    public void What_is_not_of_the_base_is_never_there(long offset, int length)
    {
        using var cache = _scene.Open();
        Assert.False(cache.IsThere(0, 1, out _));
        _scene.Fill(cache, 0, 1, 2, 3, 4);
        for (var chunk = 0; chunk < 5; chunk++)
            Assert.True(_scene.Has(cache, chunk));
        Assert.True(cache.IsThere(0, (int)_scene.Key.Length, out _));
        Assert.False(cache.IsThere(offset, length, out _));
    }

    [Fact]
    public void One_fetches_while_the_others_wait()
    {
        using var first = _scene.Open();
        using var second = _scene.Open();
        Assert.Equal(1, _scene.Claim(first, 3));
        Assert.Equal(1, _scene.Claim(second, 2));
        var (waiting, result) = StartClaim(second, 3);
        Assert.False(waiting.Wait(100, TestContext.Current.CancellationToken));
        Assert.Equal(1, _scene.Store(first, 3));
        Assert.True(waiting.Wait(10_000, TestContext.Current.CancellationToken));
        Assert.Equal(0, result[0]);
        Assert.True(_scene.Has(second, 3));
        second.Abandon(2);
    }

    [Fact]
    public void A_claim_that_is_given_up_goes_to_the_next()
    {
        using var first = _scene.Open();
        using var second = _scene.Open();
        Assert.Equal(1, _scene.Claim(first, 3));
        var (waiting, result) = StartClaim(second, 3);
        Assert.False(waiting.Wait(50, TestContext.Current.CancellationToken));
        _scene.Run(() =>
        {
            first.Abandon(3);
            return new LoopTask<int>(0);
        });
        Assert.True(waiting.Wait(10_000, TestContext.Current.CancellationToken));
        Assert.Equal(1, result[0]);
    }

    [Fact]
    public void A_claim_of_one_that_was_stopped_is_not_waited_for_for_ever()
    {
        _scene.Settings = _scene.Settings with { ClaimPatience = 50 };
        using var stopped = _scene.Open();
        using var cache = _scene.Open();
        Assert.Equal(1, _scene.Claim(stopped, 3));
        var (waiting, result) = StartClaim(cache, 3);
        Assert.True(waiting.Wait(10_000, TestContext.Current.CancellationToken));
        Assert.Equal(0, result[0]);
        Assert.False(cache.IsStored(3));
        Assert.Equal(1, _scene.Store(stopped, 3));
        Assert.True(_scene.Has(cache, 3));
    }

    [Fact]
    public void A_second_claim_in_one_process_waits_too()
    {
        using var cache = _scene.Open();
        Assert.Equal(1, _scene.Claim(cache, 3));
        var (waiting, result) = StartClaim(cache, 3);
        Assert.False(waiting.Wait(100, TestContext.Current.CancellationToken));
        Assert.Equal(1, _scene.Store(cache, 3));
        Assert.True(waiting.Wait(10_000, TestContext.Current.CancellationToken));
        Assert.Equal(0, result[0]);
    }

    [Fact]
    public void A_claim_ends_with_its_process()
    {
        var first = _scene.Open();
        using var second = _scene.Open();
        Assert.Equal(1, _scene.Claim(first, 3));
        first.Dispose();
        Assert.Equal(1, _scene.Claim(second, 3));
    }

    [Fact]
    public void A_chunk_that_is_not_as_it_was_stored_is_not_there_and_is_replaced()
    {
        using (var cache = _scene.Open())
            _scene.Fill(cache, 1);
        Damage(Chunk + 17);
        using (var cache = _scene.Open())
        {
            Assert.True(cache.IsStored(1));
            Assert.False(_scene.Has(cache, 1));
            Assert.False(cache.IsStored(1));
            Assert.False(cache.IsThere(Chunk, 10, out _));
            _scene.Fill(cache, 1);
            Assert.True(_scene.Has(cache, 1));
        }

        using var again = _scene.Open();
        Assert.True(_scene.Has(again, 1));
        Assert.Empty(_scene.Reports);
    }

    [Fact]
    public void A_chunk_that_was_wrong_is_there_again_once_another_has_replaced_it()
    {
        using (var cache = _scene.Open())
            _scene.Fill(cache, 1);
        Damage(Chunk + 17);
        using var first = _scene.Open();
        using var second = _scene.Open();
        Assert.False(_scene.Has(first, 1));
        Assert.False(_scene.Has(second, 1));
        _scene.Fill(second, 1);
        Assert.True(_scene.Has(first, 1));
        Assert.Empty(_scene.Reports);
    }

    [Fact]
    public void Another_version_or_length_is_another_entry()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        foreach (var key in (CacheKey[])[_scene.Key with { Version = "\"v2\"" }, _scene.Key with { Length = _scene.Key.Length - 1 },
            _scene.Key with { Name = "https://store.example/other" }])
        {
            using var other = _scene.TryOpen(key);
            Assert.False(other!.IsStored(0));
        }

        Assert.Equal(4, Directory.GetDirectories(_scene.Settings.Directory).Length);
    }

    [Fact]
    public void Many_read_a_chunk_for_the_first_time_at_once()
    {
        using (var cache = _scene.Open())
            _scene.Fill(cache, 1);
        using var again = _scene.Open();
        var results = _scene.Run(async () =>
        {
            var pool = LoopScheduler.Current.Buffers;
            var buffers = Enumerable.Range(0, 20).Select(_ => pool.Rent(512)).ToArray();
            var reads = TaskGroup.Rent();
            for (var i = 0; i < buffers.Length; i++)
                reads.Add(again.ReadAsync(Chunk + (i * 1024), buffers[i]));
            await reads.WaitAsync();
            return buffers.Select(buffer => buffer.Span.ToArray()).ToArray();
        });
        for (var i = 0; i < results.Length; i++)
            Assert.Equal(_scene.BytesOf(1).AsSpan(i * 1024, 512).ToArray(), results[i]);
    }

    [Fact]
    public void Reading_what_is_there_allocates_nothing()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 1);
        Assert.True(_scene.Has(cache, 1));
        var bytes = _scene.Run(async () =>
        {
            var buffer = LoopScheduler.Current.Buffers.Rent(4096);
            var before = 0L;
            for (var i = 0; i < 200; i++)
            {
                // What is pooled is made in the first rounds.
                if (i == 100)
                    before = GC.GetAllocatedBytesForCurrentThread();
                var isThere = cache.IsThere(Chunk, 4096, out var mark) && await cache.ReadAsync(Chunk, buffer) == 1;
                if (!isThere || !cache.IsStill(Chunk, 4096, mark))
                    return -1;
            }

            return GC.GetAllocatedBytesForCurrentThread() - before;
        });
        Assert.Equal(0, bytes);
    }

    public void Dispose() => _scene.Dispose();

    private (ManualResetEventSlim Done, int[] Result) StartClaim(ChunkCache cache, long chunk)
    {
        var done = new ManualResetEventSlim();
        var result = new int[1];
        _scene.Run(() =>
        {
            ClaimAsync().Forget();
            return new LoopTask<int>(0);
        });
        return (done, result);

        async LoopTask<int> ClaimAsync()
        {
            result[0] = await cache.ClaimAsync(chunk);
            done.Set();
            return 0;
        }
    }

    private void Damage(long offset)
    {
        using var data = File.OpenWrite(Path.Combine(_scene.Entry, "data"));
        data.Position = offset;
        data.WriteByte((byte)(_scene.BytesOf(offset / Chunk)[offset % Chunk] ^ 1));
    }
}
