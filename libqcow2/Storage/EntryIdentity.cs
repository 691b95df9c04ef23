using Qcow2Blk.Interop;
using Tmds.Linux;

namespace Qcow2Blk.Storage;

/// <summary>What tells an entry of a directory (a socket, a pid file) from others of its name: file system, inode number, and when it was
/// made.</summary>
/// <remarks>
/// The number alone does only while something keeps the inode: a name, an open descriptor, or the socket that was bound
/// to it. ext4 gives that of a removed file to the next one. The time is 0 where the file system does not keep it.
/// </remarks>
internal readonly record struct EntryIdentity(uint Major, uint Minor, ulong Inode, long Seconds, uint Nanoseconds)
{
    /// <summary>The file of this name, be it a symbolic link.</summary>
    /// <returns>null if there is none</returns>
    public static EntryIdentity? Of(string path) =>
        Stat.OfPath(path, out var stat, follow: false) == 0 ? Of(stat) : null;

    public static EntryIdentity Of(in statx stat) =>
        new(stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec);

    /// <summary>As state files keep it.</summary>
    public override string ToString() => $"{Major}:{Minor}:{Inode}:{Seconds}.{Nanoseconds:d9}";
}
