using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Threading;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>An entry that was found for a source.</summary>
/// <param name="Key">its key</param>
/// <param name="ChunkBytes">of a chunk</param>
/// <param name="Age">how long ago the source said that this is what it has</param>
internal sealed record FoundEntry(CacheKey Key, int ChunkBytes, TimeSpan Age);

/// <summary>The directory that all entries are in. Entries are made, opened and removed by one process at a time.</summary>
internal sealed class CacheDirectory : IDisposable
{
    private const string LockName = "lock";
    private const long OpenByte = 0;
    private const long EvictByte = 1;

    // Opening takes milliseconds: who has the lock for longer was stopped.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    private readonly int _locks;

    private CacheDirectory(CacheFolder root, int locks)
    {
        Root = root;
        _locks = locks;
    }

    public CacheFolder Root { get; }

    /// <returns>null if there is none, and none is to be made</returns>
    /// <exception cref="IOException">it cannot be used: which, and why</exception>
    public static CacheDirectory? Open(string path, bool make)
    {
        var root = CacheFolder.OpenRoot(path, make);
        if (root is null)
            return null;
        var locks = root.OpenFile(LockName, O_RDWR | O_CREAT);
        if (locks >= 0)
            return new CacheDirectory(root, locks);
        root.Dispose();
        throw new IOException($"cannot use {path} for a cache: {LockName}: {Errno.Text(locks)}");
    }

    /// <summary>The entry of a source that the source confirmed last: what to go by while it is away.</summary>
    /// <param name="path">the directory of all entries</param>
    /// <param name="name">of the source: a URL without credentials</param>
    /// <param name="clock">what the age goes by; null for the system's</param>
    /// <returns>null if there is none that a source has ever confirmed, or the directory cannot be used</returns>
    public static FoundEntry? FindNewest(string path, string name, TimeProvider? clock = null)
    {
        try
        {
            using var directory = Open(path, make: false);
            CacheLabel? newest = null;
            foreach (var label in directory?.Labels() ?? [])
            {
                if (label.Key.Name == name && label.Confirmed > (newest?.Confirmed ?? 0))
                    newest = label;
            }

            if (newest is null)
                return null;
            var age = (clock ?? TimeProvider.System).GetUtcNow().ToUnixTimeSeconds() - newest.Confirmed;
            return new FoundEntry(newest.Key, newest.ChunkBytes, TimeSpan.FromSeconds(Math.Clamp(age, 0, int.MaxValue)));
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Opens an entry to use it, and makes it where it is missing or damaged.</summary>
    /// <param name="label">what it is of</param>
    /// <param name="isConfirmed">whether the source said just now that this is what it has</param>
    /// <exception cref="IOException">it cannot be used</exception>
    public EntryFiles OpenOrMake(CacheLabel label, bool isConfirmed)
    {
        Lock();
        try
        {
            return EntryFiles.OpenOrMake(Root, label, isConfirmed);
        }
        finally
        {
            Unlock();
        }
    }

    /// <summary>Removes an entry that nobody uses.</summary>
    /// <returns>0; -EBUSY if somebody uses it; or another negative errno</returns>
    /// <exception cref="IOException">another process keeps the directory locked</exception>
    public int Remove(string name)
    {
        Lock();
        try
        {
            return EntryFiles.Remove(Root, name);
        }
        finally
        {
            Unlock();
        }
    }

    /// <summary>Whether this is the one that makes room now, until <see cref="EndEviction"/>.</summary>
    public bool TryBeginEviction() => Fcntl.SetLock(_locks, F_WRLCK, EvictByte, 1) == 0;

    public void EndEviction() => _ = Fcntl.SetLock(_locks, F_UNLCK, EvictByte, 1);

    public void Dispose()
    {
        // As EntryFiles does: a child may have the description.
        _ = Fcntl.SetLock(_locks, F_UNLCK, 0, 0);
        Files.Close(_locks);
        Root.Dispose();
    }

    /// <summary>Labels of entries, the files of which may be damaged.</summary>
    private IEnumerable<CacheLabel> Labels()
    {
        foreach (var name in Root.EntryNames())
        {
            if (LabelOf(name) is { } label)
                yield return label;
        }
    }

    private CacheLabel? LabelOf(string name)
    {
        try
        {
            using var folder = Root.OpenFolder(name, make: false);
            return folder is not null && CacheLabel.TryRead(folder) is { } label && label.EntryName == name ? label : null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    private void Lock()
    {
        var start = Stopwatch.GetTimestamp();
        int result;
        while ((result = Fcntl.SetLock(_locks, F_WRLCK, OpenByte, 1)) == -Errno.EAGAIN && Stopwatch.GetElapsedTime(start) < s_patience)
            Thread.Sleep(1);
        if (result < 0)
        {
            var why = result == -Errno.EAGAIN ? "another process keeps it locked" : Errno.Text(result);
            throw new IOException($"cannot lock {Root.Path}: {why}");
        }
    }

    private void Unlock() => _ = Fcntl.SetLock(_locks, F_UNLCK, OpenByte, 1);
}
