using System;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>
/// Takes the room of a segment away: claims its chunks, clears their words, has the disk know that, and only then punches the
/// holes. A chunk that somebody stores now stays, and one that is pinned, unless there are too many of those.
/// </summary>
internal static class SegmentEviction
{
    /// <param name="entry">opened for this alone: claims are those of its locks</param>
    /// <param name="data">its file of data, opened for writing</param>
    /// <param name="segment">which one</param>
    /// <param name="pinned">bytes in pinned chunks that are to go, too; the last of the segment go first</param>
    /// <returns>0 or a negative errno</returns>
    public static int Run(EntryFiles entry, int data, int segment, long pinned = 0)
    {
        var layout = entry.Map.Layout;
        var first = segment * (long)layout.ChunksPerSegment;
        var count = (int)Math.Min(layout.ChunksPerSegment, layout.Chunks - first);
        if (IsEmpty(data, layout, first, count))
            return 0;
        var isOurs = new bool[count];
        for (var i = count - 1; i >= 0; i--)
        {
            if (entry.TryClaim(first + i) != 0)
                continue;
            isOurs[i] = !entry.Map[first + i].IsPinned || pinned > 0;
            pinned -= entry.Map[first + i].IsPinned ? layout.BytesOf(first + i) : 0;
        }

        var result = Clear(entry.Map, first, isOurs);
        if (result == 0)
            result = Punch(data, layout, first, isOurs);
        entry.Unclaim(first, count);
        return result;
    }

    /// <summary>As the other, for chunks that were found to be wrong.</summary>
    public static int Drop(EntryFiles entry, int data, long chunk, ChunkWord word)
    {
        if (entry.TryClaim(chunk) < 0)
            return -Errno.EBUSY;
        var result = 0;
        if (entry.Map[chunk] == word)
        {
            result = Clear(entry.Map, chunk, [true]);
            if (result == 0)
                result = Punch(data, entry.Map.Layout, chunk, [true]);
        }

        entry.Unclaim(chunk);
        return result;
    }

    /// <summary>What is not on the disk need not be punched. Words that there are of it are those of zeroes, which take no room.</summary>
    private static bool IsEmpty(int data, ChunkLayout layout, long first, int count)
    {
        var next = Files.Seek(data, first << layout.ChunkShift, Files.SEEK_DATA);
        return next == -Errno.ENXIO || next >= (first + count) << layout.ChunkShift;
    }

    private static int Clear(ChunkMap map, long first, ReadOnlySpan<bool> isOurs)
    {
        Span<ulong> word = stackalloc ulong[1];
        var isChanged = false;
        for (var i = 0; i < isOurs.Length; i++)
        {
            if (!isOurs[i] || !map[first + i].IsValid)
                continue;
            word[0] = map[first + i].Cleared().Raw;
            if (map.Write(first + i, word) is var result and < 0)
                return result;
            isChanged = true;
        }

        return isChanged ? Files.SyncData(map.Descriptor) : 0;
    }

    private static int Punch(int data, ChunkLayout layout, long first, ReadOnlySpan<bool> isOurs)
    {
        for (var i = 0; i < isOurs.Length; i++)
        {
            var start = i;
            while (i < isOurs.Length && isOurs[i])
                i++;
            if (i == start)
                continue;
            var offset = (first + start) << layout.ChunkShift;
            var end = Math.Min((first + i) << layout.ChunkShift, layout.DataFileBytes);
            var result = Files.Allocate(data, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, end - offset);
            if (result < 0)
                return result;
        }

        return 0;
    }
}
