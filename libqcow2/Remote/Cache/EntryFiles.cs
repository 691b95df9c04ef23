using System;
using System.IO;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>
/// An open entry of a cache: its directory, its map, its locks. What is locked belongs to this object, not to the process
/// (open file description locks), and is let go when it is disposed of or the process dies.
/// </summary>
internal sealed class EntryFiles : IDisposable
{
    public const string DataName = "data";

    private const string LockName = "lock";

    // Bytes of the lock file, beyond those of chunks.
    private const long UseByte = 1L << 41;
    private const long FirstUser = 1L << 42;
    private const int Users = 1 << 16;

    private readonly CacheFolder _folder;
    private readonly int _locks;

    private EntryFiles(CacheFolder folder, int locks, CacheLabel label, ChunkMap map)
    {
        _folder = folder;
        _locks = locks;
        Label = label;
        Map = map;
    }

    public CacheLabel Label { get; }

    public ChunkMap Map { get; }

    public string Path => _folder.Path;

    /// <summary>Opens an entry to use it, and makes it where it is missing or damaged. Under the lock of the directory.</summary>
    /// <exception cref="IOException">it cannot be used</exception>
    public static EntryFiles OpenOrMake(CacheFolder root, CacheLabel wanted, bool isConfirmed)
    {
        var folder = root.OpenFolder(wanted.EntryName, make: true)!;
        var locks = -1;
        try
        {
            locks = Require(folder, folder.OpenFile(LockName, O_RDWR | O_CREAT));
            _ = Require(folder, Fcntl.SetLock(locks, F_RDLCK, UseByte, 1));
            var entry = TryOpen(folder, locks, wanted);
            if (entry is null)
            {
                Make(folder, locks, wanted);
                entry = TryOpen(folder, locks, wanted) ?? throw new IOException($"cannot use {folder.Path}: it changes while it is made");
            }
            else if (isConfirmed)
            {
                _ = Require(folder, (entry.Label with { Confirmed = wanted.Confirmed }).Write(folder));
            }

            entry.BecomeUser();
            return entry;
        }
        catch
        {
            Close(folder, locks);
            throw;
        }
    }

    /// <summary>Opens an entry that there is, without becoming one of its users.</summary>
    /// <returns>null if it is missing or damaged</returns>
    public static EntryFiles? TryOpen(CacheFolder root, string name)
    {
        CacheFolder? folder = null;
        var locks = -1;
        try
        {
            folder = root.OpenFolder(name, make: false);
            if (folder is null)
                return null;
            locks = folder.OpenFile(LockName, O_RDWR);
            if (locks >= 0 && CacheLabel.TryRead(folder) is { } label && label.EntryName == name
                && TryOpen(folder, locks, label) is { } entry)
            {
                return entry;
            }
        }
        catch (IOException)
        {
            // A trap, or a disk that fails: not an entry.
        }

        if (folder is not null)
            Close(folder, locks);
        return null;
    }

    /// <summary>Removes an entry, damaged or not. Under the lock of the directory.</summary>
    /// <returns>0; -EBUSY if somebody uses it; or another negative errno</returns>
    public static int Remove(CacheFolder root, string name)
    {
        CacheFolder? folder;
        try
        {
            folder = root.OpenFolder(name, make: false);
        }
        catch (IOException)
        {
            return -Errno.ELOOP;
        }

        if (folder is null)
            return 0;
        var locks = folder.OpenFile(LockName, O_RDWR | O_CREAT);
        var result = locks < 0 ? locks : Fcntl.SetLock(locks, F_WRLCK, UseByte, 1);
        if (result == 0)
            result = Empty(folder);
        if (result == 0)
            result = folder.Remove(LockName);
        if (result == 0)
            result = root.RemoveFolder(name);
        Close(folder, locks);
        return result == -Errno.EAGAIN ? -Errno.EBUSY : result;
    }

    /// <summary>Opens the file of data.</summary>
    /// <returns>a descriptor or a negative errno</returns>
    public int OpenData(int flags) => _folder.OpenFile(DataName, flags);

    /// <summary>Claims chunks, as one who stores or removes them.</summary>
    /// <returns>0 or a negative errno; -EAGAIN if another has one of them</returns>
    public int TryClaim(long chunk, long count = 1) => Fcntl.SetLock(_locks, F_WRLCK, chunk, count);

    public void Unclaim(long chunk, long count = 1) => _ = Fcntl.SetLock(_locks, F_UNLCK, chunk, count);

    /// <summary>How many others have the entry open to use it.</summary>
    public int CountUsers() => Math.Max(0, Fcntl.CountLocks(_locks, FirstUser, Users));

    /// <summary>Whether anybody else has the entry open to use it.</summary>
    public bool IsInUse() => Fcntl.TestLock(_locks, F_WRLCK, UseByte, 1, out _) != 0;

    /// <summary>When the entry was last used: seconds since 1970.</summary>
    public long LastUse(long now)
    {
        var last = Math.Min(Label.Confirmed, now);
        for (var segment = 0; segment < Map.Layout.Segments; segment++)
            last = Math.Max(last, Map.LastUse(segment, now));
        return last;
    }

    /// <summary>Bytes that the entry takes on the disk.</summary>
    public long AllocatedBytes()
    {
        var bytes = Map.Layout.MapFileBytes;
        var data = OpenData(O_RDONLY);
        if (data < 0)
            return bytes;
        if (Stat.OfFile(data, out var status) == 0)
            bytes += (long)Math.Min(status.stx_blocks, long.MaxValue >> 10) * 512;
        Files.Close(data);
        return bytes;
    }

    public void Dispose()
    {
        Map.Dispose();
        Close(_folder, _locks);
    }

    /// <summary>An entry whose files are as its label says; null if one is not.</summary>
    private static EntryFiles? TryOpen(CacheFolder folder, int locks, CacheLabel wanted)
    {
        if (CacheLabel.TryRead(folder) is not { } label || label.Key != wanted.Key || label.ChunkBytes != wanted.ChunkBytes)
            return null;
        var data = folder.OpenFile(DataName, O_RDONLY);
        if (data < 0)
            return null;
        var isWhole = Stat.OfFile(data, out var status) == 0 && (long)status.stx_size == label.Layout.DataFileBytes;
        Files.Close(data);
        return isWhole && ChunkMap.Open(folder, label) is { } map ? new EntryFiles(folder, locks, label, map) : null;
    }

    /// <summary>Makes the files of an entry, in place of what there is of one.</summary>
    private static void Make(CacheFolder folder, int locks, CacheLabel label)
    {
        // Who uses it has its map in memory, and would not see what is removed from a new one.
        if (Fcntl.SetLock(locks, F_WRLCK, UseByte, 1) < 0)
            throw new IOException($"cannot use {folder.Path}: its files are damaged, and another process is using it");
        _ = Require(folder, Empty(folder));
        var data = Require(folder, folder.OpenFile(DataName, O_RDWR | O_CREAT | O_EXCL));
        var result = Files.Truncate(data, label.Layout.DataFileBytes);
        Files.Close(data);
        _ = Require(folder, result);
        _ = Require(folder, ChunkMap.Create(folder, label));

        // Last: what died before this is not an entry.
        _ = Require(folder, label.Write(folder));
        _ = Require(folder, Fcntl.SetLock(locks, F_RDLCK, UseByte, 1));
    }

    /// <summary>Removes what makes the directory an entry; its lock file stays.</summary>
    private static int Empty(CacheFolder folder)
    {
        var result = CacheLabel.Remove(folder);
        foreach (var name in (ReadOnlySpan<string>)[ChunkMap.FileName, DataName])
            result = result < 0 ? result : folder.Remove(name);
        return result;
    }

    /// <summary>Takes a byte that nobody has, so that users can be counted. Without one it is used nevertheless.</summary>
    private void BecomeUser()
    {
        var first = Environment.ProcessId;
        for (var i = 0; i < Users && Fcntl.SetLock(_locks, F_WRLCK, FirstUser + ((first + (i * 2L)) % Users), 1) == -Errno.EAGAIN; i++)
        {
            // Somebody has this one. Bytes side by side of one user would become one lock.
        }
    }

    private static int Require(CacheFolder folder, int result) =>
        result >= 0 ? result : throw new IOException($"cannot use {folder.Path}: {Errno.Text(result)}");

    private static void Close(CacheFolder folder, int locks)
    {
        if (locks >= 0)
        {
            // A child that is about to run a program has the description, too, and with it all locks that are not let go by name.
            _ = Fcntl.SetLock(locks, F_UNLCK, 0, 0);
            Files.Close(locks);
        }

        folder.Dispose();
    }
}
