using System;
using System.IO;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Cache;
using Qcow2Blk.Scheduling;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Remote.Cache;

/// <summary>
/// A chunk is taken away while somebody reads it. The loop hands its reads to the kernel when it has nothing else to do: what a test
/// does on the loop before that comes between the word that a reader has seen and the bytes that it gets.
/// </summary>
public sealed class EvictionRaceTests : IDisposable
{
    private const int Chunk = CacheScene.ChunkBytes;

    private readonly CacheScene _scene = new();

    [Fact]
    public void A_reader_gets_nothing_of_a_chunk_that_goes_while_it_reads()
    {
        using var cache = Verified(1);
        Assert.Null(ReadWhile(cache, Chunk + 100, 512, () => Evict(0)));
        Assert.False(cache.IsStored(1));
    }

    [Fact]
    public void A_reader_gets_nothing_of_a_chunk_that_goes_and_comes_back_while_it_reads()
    {
        using var cache = Verified(1);
        Assert.Null(ReadWhile(
            cache,
            Chunk + 100,
            512,
            () =>
            {
                Evict(0);
                StoreByHand(1);
            }));
        Assert.True(_scene.Has(cache, 1));
    }

    [Fact]
    public void A_reader_gets_what_stays()
    {
        using var cache = Verified(1);
        var bytes = ReadWhile(cache, Chunk + 100, 512, () => EvictChunk(_scene, 0));
        Assert.Equal(_scene.BytesOf(1).AsSpan(100, 512).ToArray(), bytes);
    }

    [Fact]
    public void Files_stay_open_until_what_is_under_way_has_ended()
    {
        var cache = Verified(1);
        Assert.Equal(_scene.BytesOf(1).AsSpan(100, 512).ToArray(), ReadWhile(cache, Chunk + 100, 512, cache.Dispose));
    }

    [Fact]
    public void A_chunk_that_goes_while_it_is_verified_is_not_there_and_nothing_is_wrong_with_the_disk()
    {
        using var scene = new CacheScene(20L * Chunk);
        using (var writer = scene.Open())
            scene.Fill(writer, [.. System.Linq.Enumerable.Range(0, 20)]);
        using var cache = scene.Open();
        for (var chunk = 0; chunk < 20; chunk++)
        {
            var taken = chunk;
            Assert.Null(ReadWhile(scene, cache, taken * (long)Chunk, 512, () => EvictChunk(scene, taken)));
        }

        Assert.False(cache.IsGivenUp);
        Assert.Empty(scene.Reports);
    }

    [Fact]
    public void What_was_found_wrong_stays_if_it_was_stored_anew_or_somebody_stores_it_now()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 1, 2);
        WithEntry(_scene, (entry, data) =>
        {
            var before = entry.Map[1];
            Assert.Equal(0, SegmentEviction.Drop(entry, data, 1, before));
            StoreByHand(1);
            Assert.Equal(0, SegmentEviction.Drop(entry, data, 1, before));

            // The locks of this entry are those of another process.
            WithEntry(_scene, (storer, _) =>
            {
                Assert.Equal(0, storer.TryClaim(2));
                Assert.Equal(-Errno.EBUSY, SegmentEviction.Drop(entry, data, 2, entry.Map[2]));
            });
        });
        Assert.True(_scene.Has(cache, 1) && _scene.Has(cache, 2));
    }

    [Fact]
    public void What_was_taken_away_can_be_stored_by_others_at_once()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0, 1);
        WithEntry(_scene, (entry, data) =>
        {
            Assert.Equal(0, SegmentEviction.Run(entry, data, 0));
            _scene.Fill(cache, 0, 1);
            Assert.Equal(0, SegmentEviction.Drop(entry, data, 1, entry.Map[1]));
            _scene.Fill(cache, 1);
        });
    }

    [Fact]
    public void A_chunk_is_read_whole_by_its_word_before_and_after()
    {
        // What a direct transfer does: it asks, reads the file, and asks again.
        using var cache = Verified(1);
        Assert.True(cache.IsThere(Chunk, 512, out var mark));
        Evict(0);
        Assert.False(cache.IsStill(Chunk, 512, mark));
    }

    public void Dispose() => _scene.Dispose();

    private ChunkCache Verified(long chunk)
    {
        var cache = _scene.Open();
        _scene.Fill(cache, chunk);
        Assert.True(_scene.Has(cache, chunk));
        Assert.SkipWhen(cache.File.IsMemory, "files in memory are read at once");
        return cache;
    }

    private byte[]? ReadWhile(ChunkCache cache, long offset, int length, Action meanwhile) =>
        ReadWhile(_scene, cache, offset, length, meanwhile);

    private static byte[]? ReadWhile(CacheScene scene, ChunkCache cache, long offset, int length, Action meanwhile) => scene.Run(async () =>
    {
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(length);
        var reading = cache.ReadAsync(offset, buffer);
        meanwhile();
        var bytes = await reading == 1 ? buffer.Span.ToArray() : null;
        pool.Return(buffer);
        return bytes;
    });

    /// <summary>As another process does it: with files, claims and a map of its own.</summary>
    private void Evict(int segment) => WithEntry(_scene, (entry, data) => Assert.Equal(0, SegmentEviction.Run(entry, data, segment)));

    private static void EvictChunk(CacheScene scene, long chunk) =>
        WithEntry(scene, (entry, data) => Assert.Equal(0, SegmentEviction.Drop(entry, data, chunk, entry.Map[chunk])));

    private void StoreByHand(long chunk) => WithEntry(_scene, (entry, data) =>
    {
        var bytes = _scene.BytesOf(chunk);
        Assert.Equal(0, Files.WriteAll(data, bytes, chunk * Chunk));
        Assert.Equal(0, entry.Map.Write(chunk, [entry.Map[chunk].Stored(Crc32C.Of(bytes), pin: false).Raw]));
    });

    private static void WithEntry(CacheScene scene, Action<EntryFiles, int> action)
    {
        using var directory = CacheDirectory.Open(scene.Settings.Directory, make: false);
        using var entry = EntryFiles.TryOpen(directory!.Root, Path.GetFileName(scene.Entry));
        var data = entry!.OpenData(O_RDWR);
        action(entry, data);
        Files.Close(data);
    }
}
