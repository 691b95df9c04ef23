using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>How full a cache is.</summary>
/// <param name="Taken">bytes that all entries take on the disk</param>
/// <param name="Limit">bytes that they may take</param>
internal readonly record struct CacheSurvey(long Taken, long Limit)
{
    // Of the file system: what is always left to others.
    private const int FreeShare = 20;
    private const int DefaultShare = 10;

    /// <summary>What may be added.</summary>
    public long Room => Math.Max(0, Limit - Taken);

    /// <summary>Whether something has to go, so that there is room before it is needed.</summary>
    public bool IsNearlyFull => Room < Limit / 20;

    /// <summary>What has to go then.</summary>
    public long Excess => Taken - (Limit - (Limit / 10));

    /// <summary>What may be pinned, so that the rest has room for what is needed now.</summary>
    public long MostPinned => Limit / 2;

    /// <summary>Adds up what the entries take. It costs a few calls an entry, and opens no map.</summary>
    /// <exception cref="IOException">the directory cannot be read</exception>
    public static CacheSurvey Of(CacheFolder root, long? limit)
    {
        var taken = 0L;
        foreach (var name in root.EntryNames())
            taken += AllocatedBytes(root, name);
        var result = Files.FileSystemSpace(root.Descriptor, out var size, out var free);
        if (result < 0)
            throw new IOException($"cannot use {root.Path}: {Errno.Text(result)}");
        var most = limit ?? (size / DefaultShare);
        return new CacheSurvey(taken, Math.Clamp(taken + free - (size / FreeShare), 0, most));
    }

    /// <summary>Bytes that the files of an entry take; 0 of what is not an entry.</summary>
    public static long AllocatedBytes(CacheFolder root, string name)
    {
        try
        {
            using var folder = root.OpenFolder(name, make: false);
            return folder is null ? 0 : AllocatedBytes(folder);
        }
        catch (IOException)
        {
            return 0;
        }
    }

    private static long AllocatedBytes(CacheFolder folder)
    {
        var bytes = 0L;
        foreach (var file in (ReadOnlySpan<string>)[EntryFiles.DataName, ChunkMap.FileName])
        {
            var descriptor = folder.OpenFile(file, O_RDONLY);
            if (descriptor < 0)
                continue;
            if (Stat.OfFile(descriptor, out var status) == 0)
                bytes += (long)Math.Min(status.stx_blocks, long.MaxValue >> 12) * 512;
            Files.Close(descriptor);
        }

        return bytes;
    }
}
