using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>linux/stat.h: statx(2), whose layout is the same on every architecture.</summary>
internal static unsafe partial class Stat
{
    internal const int AT_FDCWD = -100;
    internal const int AT_EMPTY_PATH = 0x1000;
    internal const int AT_SYMLINK_NOFOLLOW = 0x100;
    internal const uint STATX_BASIC_STATS = 0x7ff;
    internal const uint STATX_BTIME = 0x800;
    internal const ushort S_IFMT = 0xF000;
    internal const ushort S_IFDIR = 0x4000;
    internal const ushort S_IFBLK = 0x6000;
    internal const ushort S_IFREG = 0x8000;
    internal const ushort S_IFSOCK = 0xC000;

    /// <summary>struct statx: the members that are used, at their offsets.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    internal struct Statx
    {
        [FieldOffset(0)] internal uint stx_mask;
        [FieldOffset(16)] internal uint stx_nlink;
        [FieldOffset(20)] internal uint stx_uid;
        [FieldOffset(28)] internal ushort stx_mode;
        [FieldOffset(32)] internal ulong stx_ino;
        [FieldOffset(40)] internal ulong stx_size;
        [FieldOffset(48)] internal ulong stx_blocks;

        /// <summary>When the file was made (stx_btime.tv_sec, tv_nsec); 0 where the file system does not keep that.</summary>
        [FieldOffset(80)] internal long stx_btime_sec;
        [FieldOffset(88)] internal uint stx_btime_nsec;
        [FieldOffset(136)] internal uint stx_dev_major;
        [FieldOffset(140)] internal uint stx_dev_minor;

        internal readonly ushort Kind => (ushort)(stx_mode & S_IFMT);

        internal readonly bool SameFileAs(in Statx other)
            => stx_ino == other.stx_ino && stx_dev_major == other.stx_dev_major && stx_dev_minor == other.stx_dev_minor;
    }

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatxRaw(int directory, string path, int flags, uint mask, Statx* result);

    /// <returns>0 or a negative errno</returns>
    internal static int OfPath(string path, out Statx result, bool follow = true)
        => Call(AT_FDCWD, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, out result);

    /// <returns>0 or a negative errno</returns>
    internal static int OfFile(int fd, out Statx result) => Call(fd, "", AT_EMPTY_PATH, out result);

    private static int Call(int directory, string path, int flags, out Statx result)
    {
        fixed (Statx* target = &result)
            return StatxRaw(directory, path, flags, STATX_BASIC_STATS | STATX_BTIME, target) == 0 ? 0 : -Marshal.GetLastPInvokeError();
    }

    [LibraryImport("libc", EntryPoint = "mkdirat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeDirectoryAtRaw(int directory, string path, uint mode);

    /// <summary>Makes a directory in an open one, or in the working directory (<see cref="AT_FDCWD"/>).</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int MakeDirectoryAt(int directory, string path, uint mode) => Errno.Of(MakeDirectoryAtRaw(directory, path, mode));
}
