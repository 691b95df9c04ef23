using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Cache;
using Qcow2Blk.Tests.Shared;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Remote.Cache;

/// <summary>A cache stays within its limit, and gives up what was used longest ago.</summary>
public sealed class CacheRoomTests : IDisposable
{
    private const int Chunk = CacheScene.ChunkBytes;
    private const int ChunksPerSegment = ChunkLayout.SegmentBytes / Chunk;

    private static readonly TimeSpan s_old = TimeSpan.FromSeconds(RoomMaker.RecentSeconds + 1);

    // Four segments.
    private readonly CacheScene _scene = new(4L * ChunkLayout.SegmentBytes);

    [Fact]
    public void The_segment_that_was_used_longest_ago_goes_first()
    {
        using var cache = _scene.Open();
        foreach (var segment in (int[])[2, 0, 1])
        {
            _scene.Fill(cache, segment * ChunksPerSegment, (segment * ChunksPerSegment) + 5);
            _scene.Clock.Advance(s_old);
        }

        MakeRoom(1);
        Assert.False(cache.IsStored(2 * ChunksPerSegment));
        Assert.False(cache.IsStored((2 * ChunksPerSegment) + 5));
        Assert.True(_scene.Has(cache, 0));
        Assert.True(_scene.Has(cache, ChunksPerSegment));
        MakeRoom((2 * Chunk) + 1);
        Assert.False(cache.IsStored(0) || cache.IsStored(ChunksPerSegment));
        Assert.Equal(0, DataBlocks(_scene.Entry));
    }

    [Fact]
    public void What_was_used_just_now_stays()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        _scene.Clock.Advance(TimeSpan.FromSeconds(RoomMaker.RecentSeconds - 1));
        MakeRoom(Chunk);
        Assert.True(_scene.Has(cache, 0));
    }

    [Fact]
    public void What_was_read_last_before_the_end_counts_as_used()
    {
        using (var cache = _scene.Open())
            _scene.Fill(cache, 0, ChunksPerSegment);
        _scene.Clock.Advance(s_old);
        using (var cache = _scene.Open())
            Assert.True(_scene.Has(cache, ChunksPerSegment));
        _scene.Clock.Advance(TimeSpan.FromSeconds(RoomMaker.RecentSeconds - 1));
        MakeRoom(long.MaxValue);
        using var again = _scene.Open();
        Assert.False(again.IsStored(0));
        Assert.True(_scene.Has(again, ChunksPerSegment));
    }

    [Fact]
    public void An_entry_that_nobody_uses_goes_before_one_in_use()
    {
        var other = _scene.Key with { Version = "\"v2\"" };
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        _scene.Clock.Advance(s_old);
        using (var unused = _scene.TryOpen(other))
            _scene.Fill(unused!, 7);
        _scene.Clock.Advance(s_old);
        MakeRoom(1);
        Assert.True(_scene.Has(cache, 0));
        using var again = _scene.TryOpen(other);
        Assert.False(again!.IsStored(7));
    }

    [Fact]
    public void An_entry_with_damaged_files_goes_first()
    {
        using (var other = _scene.TryOpen(_scene.Key with { Version = "\"v2\"" }))
            _scene.Fill(other!, 0);
        File.WriteAllText(Path.Combine(Assert.Single(Directory.GetDirectories(_scene.Settings.Directory)), "meta.json"), "{");
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        _scene.Clock.Advance(s_old);
        MakeRoom(1);
        Assert.Equal([_scene.Entry], Directory.GetDirectories(_scene.Settings.Directory));
        Assert.True(cache.IsStored(0));
    }

    [Fact]
    public void Zeroes_alone_stay_as_they_take_no_room()
    {
        using var cache = _scene.Open();
        Assert.Equal(1, _scene.Claim(cache, 7));
        Assert.Equal(1, _scene.Store(cache, 7, bytes: new byte[Chunk]));
        _scene.Fill(cache, ChunksPerSegment);
        _scene.Clock.Advance(s_old);
        MakeRoom(long.MaxValue);
        Assert.Equal((true, false), (cache.IsStored(7), cache.IsStored(ChunksPerSegment)));
    }

    [Fact]
    public void Pinned_chunks_go_only_with_an_entry_that_nobody_uses()
    {
        using (var cache = _scene.Open())
        {
            Assert.Equal(1, _scene.Claim(cache, 3));
            Assert.Equal(1, _scene.Store(cache, 3, pin: true));
            _scene.Fill(cache, 4);
            _scene.Clock.Advance(s_old);
            MakeRoom(long.MaxValue);
            Assert.True(_scene.Has(cache, 3));
            Assert.False(cache.IsStored(4));
        }

        _scene.Clock.Advance(s_old);
        MakeRoom(Chunk);
        Assert.Empty(Directory.GetDirectories(_scene.Settings.Directory));
    }

    [Fact]
    public void More_than_half_of_the_limit_is_not_pinned_for_long_once_nothing_else_can_go()
    {
        _scene.Settings = _scene.Settings with { LimitBytes = 20 * Chunk };
        using var cache = _scene.Open();
        Assert.Equal(10 * Chunk, cache.MostPinnedByTrace);
        using var other = _scene.TryOpen(_scene.Key with { Version = "\"v2\"" })!;
        foreach (var entry in (ChunkCache[])[other, cache])
        {
            for (var chunk = 0; chunk < 8; chunk++)
            {
                Assert.Equal(1, _scene.Claim(entry, chunk));
                Assert.Equal(1, _scene.Store(entry, chunk, pin: true));
            }

            _scene.Clock.Advance(s_old);
        }

        _scene.Fill(cache, 2 * ChunksPerSegment);
        _scene.Clock.Advance(s_old);

        // There is something else.
        MakeRoom(Chunk);
        Assert.Equal((0, 0), (Missing(cache), Missing(other)));
        Assert.False(cache.IsStored(2 * ChunksPerSegment));

        // Then what was used longest ago, and no more than has to go.
        MakeRoom(2 * Chunk);
        Assert.Equal((0, 2), (Missing(cache), Missing(other)));
        MakeRoom(long.MaxValue);
        Assert.Equal((0, 6), (Missing(cache), Missing(other)));

        int Missing(ChunkCache entry) => Enumerable.Range(0, 8).Count(chunk => !_scene.Has(entry, chunk));
    }

    [Fact]
    public void A_mark_from_before_tells_of_the_removal_also_after_the_chunk_is_back()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        Assert.True(_scene.Has(cache, 0));
        Assert.True(cache.IsThere(0, 4096, out var mark));
        _scene.Clock.Advance(s_old);
        MakeRoom(Chunk);
        Assert.False(cache.IsStill(0, 4096, mark));
        Assert.False(cache.IsThere(0, 4096, out _));
        _scene.Fill(cache, 0);
        Assert.False(cache.IsStill(0, 4096, mark));
        Assert.True(_scene.Has(cache, 0));
    }

    [Fact]
    public void A_chunk_that_is_being_stored_is_not_taken_away()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        Assert.Equal(1, _scene.Claim(cache, 1));
        _scene.Clock.Advance(s_old);
        using (var data = File.OpenWrite(Path.Combine(_scene.Entry, "data")))
        {
            data.Position = Chunk;
            data.Write(_scene.BytesOf(1));
        }

        MakeRoom(long.MaxValue);
        Assert.False(cache.IsStored(0));
        using var read = File.OpenRead(Path.Combine(_scene.Entry, "data"));
        read.Position = Chunk;
        var bytes = new byte[Chunk];
        read.ReadExactly(bytes);
        Assert.Equal(_scene.BytesOf(1), bytes);
    }

    [Fact]
    public void The_limit_holds_while_chunks_are_stored()
    {
        const int limit = 40;
        _scene.Settings = _scene.Settings with { LimitBytes = limit * Chunk };
        using var cache = _scene.Open();
        for (var i = 0; i < 200; i++)
        {
            var chunk = (i * 419) % (4 * ChunksPerSegment);
            if (_scene.Claim(cache, chunk) == 1)
                _ = _scene.Store(cache, chunk);
            Assert.InRange(DataBlocks(_scene.Entry), 0, limit * Chunk);
            if (i % 20 == 0)
                _scene.Clock.Advance(s_old);
        }

        // What makes room now may take a while: nothing is stored before there is any.
        Assert.True(SpinWait.SpinUntil(
            () =>
            {
                _scene.Clock.Advance(s_old);
                return _scene.Claim(cache, 100) == 0 || _scene.Store(cache, 100) == 1;
            },
            30_000));
        Assert.Empty(_scene.Reports);
        Assert.True(cache.StoredBytes > 0);
    }

    [Fact]
    public void Nothing_is_stored_where_all_was_used_just_now_and_later_it_is()
    {
        _scene.Settings = _scene.Settings with { LimitBytes = 10 * Chunk };
        using var cache = _scene.Open();
        var stored = Enumerable.Range(0, 30).Sum(chunk => _scene.Claim(cache, chunk) == 1 ? _scene.Store(cache, chunk) : 0);
        Assert.InRange(stored, 8, 10);
        Assert.True(SpinWait.SpinUntil(() => cache.IsFull, 10_000));
        Assert.True(_scene.Has(cache, 0));
        Assert.True(SpinWait.SpinUntil(
            () =>
            {
                _scene.Clock.Advance(s_old);
                return _scene.Claim(cache, 100) == 0 || _scene.Store(cache, 100) == 1;
            },
            30_000));
    }

    [Fact]
    public void What_a_dead_process_began_to_store_goes_with_its_segment()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        using (var data = File.OpenWrite(Path.Combine(_scene.Entry, "data")))
        {
            data.Position = 9 * Chunk;
            data.Write(_scene.BytesOf(9).AsSpan(0, Chunk / 2));
            data.Flush(flushToDisk: true);
        }

        _scene.Clock.Advance(s_old);
        MakeRoom(long.MaxValue);
        Assert.Equal(0, DataBlocks(_scene.Entry));
    }

    [Fact]
    public void One_process_at_a_time_makes_room()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        _scene.Clock.Advance(s_old);
        using (var directory = CacheDirectory.Open(_scene.Settings.Directory, make: false))
        {
            Assert.True(directory!.TryBeginEviction());
            MakeRoom(long.MaxValue);
        }

        Assert.True(_scene.Has(cache, 0));
        MakeRoom(long.MaxValue);
        Assert.False(_scene.Has(cache, 0));
    }

    [Fact]
    public void A_twentieth_of_the_file_system_stays_free()
    {
        using var cache = _scene.Open();
        using var directory = CacheDirectory.Open(_scene.Settings.Directory, make: false);
        Assert.Equal(0, Files.FileSystemSpace(directory!.Root.Descriptor, out var size, out var free));
        var survey = CacheSurvey.Of(directory.Root, long.MaxValue);
        Assert.InRange(survey.Limit, 0, Math.Max(0, free - (size / 20)) + (size / 100));
        Assert.InRange(CacheSurvey.Of(directory.Root, null).Limit, 0, size / 10);
    }

    [Fact]
    public void A_full_disk_is_reported_once_and_tried_again_later()
    {
        Assert.SkipUnless(Unistd.EffectiveUser() == 0, "only root can mount");
        using var place = new TempDirectory();
        Assert.SkipUnless(Mounted("mount", "-t", "tmpfs", "-o", "size=2M", "tmpfs", place.File(".")), "mounting is not allowed here");
        try
        {
            using var scene = new CacheScene(64L * Chunk, place.File("cache"));
            using var cache = scene.Open();
            scene.Fill(cache, 0);
            var other = place.File("other");

            // There is room for a part of a chunk, which is given back.
            File.WriteAllBytes(other, new byte[(int)new DriveInfo(place.File(".")).AvailableFreeSpace - (Chunk / 2)]);
            for (var chunk = 1; chunk < 4; chunk++)
            {
                Assert.Equal(1, scene.Claim(cache, chunk));
                Assert.Equal(0, scene.Store(cache, chunk));
                Assert.False(cache.IsStored(chunk));
            }

            Assert.Contains("no space left", Assert.Single(scene.Reports), StringComparison.Ordinal);
            Assert.True(cache.IsFull && !cache.IsGivenUp);
            Assert.True(scene.Has(cache, 0));
            Assert.Equal(Chunk, DataBlocks(scene.Entry));
            scene.Clock.Advance(TimeSpan.FromSeconds(61));
            Assert.Equal(1, scene.Claim(cache, 1));
            Assert.Equal(0, scene.Store(cache, 1));
            Assert.Single(scene.Reports);
            File.Delete(other);
            Assert.Equal(1, scene.Claim(cache, 1));
            Assert.Equal(0, scene.Store(cache, 1));
            scene.Clock.Advance(TimeSpan.FromSeconds(61));
            scene.Fill(cache, 1);
            Assert.True(scene.Has(cache, 1));
            Assert.Single(scene.Reports);
        }
        finally
        {
            Assert.True(Mounted("umount", place.File(".")));
        }
    }

    public void Dispose() => _scene.Dispose();

    private static bool Mounted(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        process.WaitForExit();
        return process.ExitCode == 0;
    }

    private void MakeRoom(long bytes) => MakeRoom(_scene, bytes);

    internal static void MakeRoom(CacheScene scene, long bytes)
    {
        using var directory = CacheDirectory.Open(scene.Settings.Directory, make: false);
        var taken = CacheSurvey.Of(directory!.Root, null).Taken;
        using var maker = new RoomMaker(scene.Settings) { Target = bytes == long.MaxValue ? -1 : taken - bytes };
        int result;
        while ((result = maker.Execute()) == 1)
        {
            // One segment, one entry.
        }

        Assert.Equal(0, result);
    }

    internal static long DataBlocks(string entry)
    {
        var descriptor = Files.Open(Path.Combine(entry, "data"), O_RDONLY | O_CLOEXEC);
        Assert.Equal(0, Stat.OfFile(descriptor, out var status));
        Files.Close(descriptor);
        return (long)status.stx_blocks * 512;
    }
}
