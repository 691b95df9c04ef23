using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>What a cache has of one base.</summary>
internal sealed record CachedBase
{
    /// <summary>The name of its directory.</summary>
    public required string Id { get; init; }

    /// <summary>What it is of; null if its files are damaged.</summary>
    public CacheLabel? Label { get; init; }

    public long StoredBytes { get; init; }

    public long PinnedBytes { get; init; }

    /// <summary>Bytes that it takes on the disk.</summary>
    public required long TakenBytes { get; init; }

    /// <summary>null if it was never used.</summary>
    public DateTimeOffset? LastUse { get; init; }

    public int Users { get; init; }
}

/// <summary>What the verification of an entry found.</summary>
/// <param name="Base">the entry</param>
/// <param name="Checked">chunks that were read</param>
/// <param name="Wrong">chunks that were not what had been stored, or could not be read: they were removed</param>
/// <param name="Failure">why not all could be looked at, or removed; null if they were</param>
internal sealed record CacheVerdict(CachedBase Base, long Checked, long Wrong, string? Failure)
{
    public bool IsSound => Wrong == 0 && Failure is null;
}

/// <summary>Looking at a cache from outside, while others use it.</summary>
internal static class CacheContents
{
    /// <exception cref="IOException">the directory cannot be used</exception>
    public static IReadOnlyList<CachedBase> List(string path, long now)
    {
        using var directory = CacheDirectory.Open(path, make: false);
        return directory is null ? [] : [.. directory.Root.EntryNames().Select(name => Describe(directory.Root, name, now))];
    }

    /// <summary>Entries that are called by a name of their source, or by the first digits of their id.</summary>
    public static IReadOnlyList<CachedBase> Find(IEnumerable<CachedBase> bases, string name) =>
        [.. bases.Where(known => known.Label?.Key.Name == name
            || (name.Length >= 4 && known.Id.StartsWith(name, StringComparison.Ordinal)))];

    /// <summary>Reads all chunks that are stored, and removes those that are wrong; an entry with damaged files is removed.</summary>
    /// <param name="path">the directory of all entries</param>
    /// <param name="known">the entry</param>
    /// <param name="progress">told of the part that is done, from 0 to 1</param>
    /// <exception cref="IOException">the directory cannot be used</exception>
    public static CacheVerdict Verify(string path, CachedBase known, Action<double>? progress)
    {
        using var directory = CacheDirectory.Open(path, make: false) ?? throw new IOException($"cannot use {path}: it was removed");
        using var entry = EntryFiles.TryOpen(directory.Root, known.Id);
        if (entry is not null)
            return Verify(entry, known, progress);
        var result = directory.Remove(known.Id);
        var why = result == 0 ? null
            : result == -Errno.EBUSY ? "a process that opened it before still uses it" : Errno.Text(result);
        var end = why is null ? ": it was removed" : $", and it cannot be removed: {why}";
        return new CacheVerdict(known, 0, 0, "its files are damaged" + end);
    }

    private static CachedBase Describe(CacheFolder root, string name, long now)
    {
        using var entry = EntryFiles.TryOpen(root, name);
        var taken = CacheSurvey.AllocatedBytes(root, name);
        if (entry is null)
            return new CachedBase { Id = name, TakenBytes = taken };
        var (stored, pinned) = entry.Map.Count();
        return new CachedBase
        {
            Id = name,
            Label = entry.Label,
            StoredBytes = stored,
            PinnedBytes = pinned,
            TakenBytes = taken,
            LastUse = entry.LastUse(now) is > 0 and var time ? DateTimeOffset.FromUnixTimeSeconds(time) : null,
            Users = entry.CountUsers(),
        };
    }

    private static CacheVerdict Verify(EntryFiles entry, CachedBase known, Action<double>? progress)
    {
        var data = entry.OpenData(O_RDWR);
        if (data < 0)
            return new CacheVerdict(known, 0, 0, $"{EntryFiles.DataName}: {Errno.Text(data)}");
        var layout = entry.Map.Layout;
        var buffer = new byte[layout.ChunkBytes];
        var (done, wrong, failure) = (0L, 0L, (string?)null);
        for (long chunk = 0; chunk < layout.Chunks; chunk++)
        {
            var word = entry.Map[chunk];
            if (!word.IsValid)
                continue;
            var bytes = buffer.AsSpan(0, layout.BytesOf(chunk));
            var isRight = Files.ReadAll(data, bytes, chunk << layout.ChunkShift) == bytes.Length && Crc32C.Of(bytes) == word.Checksum;

            // One that was removed meanwhile was not wrong.
            if (entry.Map[chunk] != word)
                continue;
            done++;
            if (!isRight)
            {
                wrong++;
                var result = SegmentEviction.Drop(entry, data, chunk, word);
                if (result < 0)
                    failure ??= $"chunk {chunk} cannot be removed: {Errno.Text(result)}";
            }

            progress?.Invoke((double)chunk / layout.Chunks);
        }

        Files.Close(data);
        return new CacheVerdict(known, done, wrong, failure);
    }
}
