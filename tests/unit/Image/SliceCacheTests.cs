using System;
using System.Buffers.Binary;
using System.Diagnostics;
using System.Threading;
using Qcow2Blk.Image.Tables;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>The cache of table slices: what is dirty stays, and readers on other threads never see half a slice.</summary>
public sealed class SliceCacheTests
{
    private const int SliceBytes = 512;
    private const int Ways = 8;

    [Fact]
    public void Slice_that_was_not_used_for_longest_goes_first()
    {
        using var cache = new SliceCache(SliceBytes, Ways * SliceBytes, 1000);
        Assert.Equal(Ways, cache.Capacity);
        for (var key = 0; key < Ways; key++)
            Load(cache, key);
        Assert.True(cache.Find(0) >= 0);

        Load(cache, 100);

        Assert.Equal((true, false, true), (cache.Find(0) >= 0, cache.Find(1) >= 0, cache.Find(100) >= 0));
    }

    [Fact]
    public void Dirty_slice_and_slice_being_written_are_never_evicted()
    {
        using var cache = new SliceCache(SliceBytes, Ways * SliceBytes, 1000);
        using var image = new SliceImage();
        for (var key = 0; key < Ways; key++)
        {
            var slot = Load(cache, key);
            if (key < Ways - 1)
                cache.Write(slot, 5, 1000UL + (ulong)key);
        }

        Assert.Equal(Ways - 1, cache.DirtyCount);
        for (var key = 100; key < 120; key++)
            Load(cache, key); // only the clean slot is given away, again and again
        for (var key = 0; key < Ways - 1; key++)
            Assert.Equal(1000UL + (ulong)key, cache.Read(cache.Find(key), 5));
        cache.MarkDirty(cache.Find(119));
        Assert.Equal(-1, cache.Claim(200));

        cache.CaptureInto(image);
        Assert.Equal((0, Ways), (cache.DirtyCount, image.Count));
        Assert.Equal(-1, cache.Claim(200));
        cache.Written(image, succeeded: false);
        Assert.Equal((Ways, -1), (cache.DirtyCount, cache.Claim(200)));

        image.Clear();
        cache.CaptureInto(image);
        cache.Written(image, succeeded: true);
        Assert.InRange(cache.Claim(200), 0, Ways - 1);
    }

    [Fact]
    public void Slice_changed_while_it_is_written_stays_dirty()
    {
        using var cache = new SliceCache(SliceBytes, Ways * SliceBytes, 1000);
        using var image = new SliceImage();
        var slot = Load(cache, 3);
        cache.Write(slot, 0, 1);
        cache.CaptureInto(image);
        cache.Write(slot, 0, 2);

        cache.Written(image, succeeded: true);

        Assert.Equal(1, cache.DirtyCount);
    }

    [Fact]
    public void Slice_being_loaded_is_not_found_and_an_abandoned_one_leaves_nothing()
    {
        using var cache = new SliceCache(SliceBytes, Ways * SliceBytes, 1000);
        var slot = cache.Claim(7);

        Assert.Equal((true, true, -1, false), (cache.IsLoading(7), cache.IsSetLoading(8), cache.Find(7), cache.TryRead(7, 0, out _)));
        cache.Abandon(slot);
        Assert.Equal((false, -1, false), (cache.IsLoading(7), cache.Find(7), cache.TryRead(7, 0, out _)));
    }

    [Fact]
    public void Entry_that_was_read_while_its_slot_was_given_away_is_not_believed()
    {
        using var cache = new SliceCache(SliceBytes, Ways * SliceBytes, 1000);
        var slot = Load(cache, 3);
        cache.Write(slot, 5, 55);
        using var image = new SliceImage();
        cache.CaptureInto(image);
        cache.Written(image, succeeded: true);
        var generation = cache.GenerationOf(slot);
        Assert.Equal((true, 55UL), (cache.TryReadHeld(slot, 3, generation, 5, out var raw), raw));
        Assert.Equal((true, 55UL), (cache.TryRead(3, 5, out raw), raw));

        // Other slices take every slot, this one among them, then slice 3 comes back to where it was.
        var key = 100;
        while (Load(cache, key) != slot)
            key++;
        Assert.False(cache.TryReadHeld(slot, 3, generation, 5, out _));
        for (var way = 1; way < Ways; way++)
            Load(cache, key + way);
        Assert.Equal(slot, Load(cache, 3));

        Assert.False(cache.TryReadHeld(slot, 3, generation, 5, out _));
        Assert.Equal((true, 0UL), (cache.TryRead(3, 5, out raw), raw));
        Assert.False(cache.TryReadHeld(slot, 3, generation - 1, 5, out _));
    }

    [Fact]
    public void Reader_on_another_thread_sees_only_whole_slices_of_the_key_it_asked_for()
    {
        using var cache = new SliceCache(64, Ways * 64, 1000);
        var stop = false;
        long seen = 0;
        string? wrong = null;
        var reader = new Thread(() =>
        {
            var random = new Random(3);
            while (!Volatile.Read(ref stop))
            {
                var key = random.Next(Ways + 2);
                var index = random.Next(8);
                if (!cache.TryRead(key, index, out var raw))
                    continue;
                seen++;
                if (raw != Content(key, index))
                    wrong ??= $"asked for entry {index} of slice {key}, got {raw:x}";
            }
        });
        reader.Start();

        // Two slices more than there are slots: every load evicts.
        var started = Stopwatch.GetTimestamp();
        for (var key = 0; Stopwatch.GetElapsedTime(started).TotalSeconds < (Volatile.Read(ref seen) > 1000 ? 1.5 : 120); key =
            (key + 1) % (Ways + 2))
        {
            var slot = cache.Claim(key);
            cache.Data(slot).Fill(0xEE); // what a read under way may show
            for (var index = 0; index < 8; index++)
                BinaryPrimitives.WriteUInt64LittleEndian(cache.Data(slot)[(index * 8)..], Content(key, index));
            cache.Loaded(slot, 64);
        }

        Volatile.Write(ref stop, true);
        reader.Join();
        Assert.Null(wrong);
        Assert.True(seen > 1000, $"only {seen} reads found their slice");
    }

    private static ulong Content(int key, int index) => ((ulong)key << 32) | (uint)index;

    /// <summary>An entry of 128 bits has its two words in two stores; a reader that meets a change says that it knows nothing.</summary>
    [Fact]
    public void Pair_of_words_is_read_whole_or_not_at_all()
    {
        using var cache = new SliceCache(SliceBytes, Ways * SliceBytes, 1000);
        var slot = Load(cache, 3);
        var isOver = false;
        long whole = 0, torn = 0;
        var reader = new Thread(() =>
        {
            while (!Volatile.Read(ref isOver))
            {
                if (!cache.TryReadPair(3, 5, out var first, out var second))
                    continue;
                whole++;
                torn += second == first * 3 ? 0 : 1;
            }
        });
        reader.Start();
        var clock = Stopwatch.StartNew();
        for (ulong value = 1; clock.ElapsedMilliseconds < 300 || (Volatile.Read(ref whole) < 100 && clock.ElapsedMilliseconds < 20_000);)
            cache.WritePair(slot, 5, value, value++ * 3);
        Volatile.Write(ref isOver, true);
        reader.Join();

        Assert.Equal((0, true), (torn, whole >= 100));
    }

    private static int Load(SliceCache cache, long key)
    {
        var slot = cache.Claim(key);
        Assert.InRange(slot, 0, cache.Capacity - 1);
        cache.Data(slot).Clear();
        cache.Loaded(slot, (key + 1) * SliceBytes);
        return slot;
    }
}
