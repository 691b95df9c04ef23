using System;
using System.Runtime.InteropServices;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>linux/stat.h: statx(2), whose layout is the same on every architecture.</summary>
internal static unsafe class Stat
{
    /// <summary>stx_dio_mem_align and stx_dio_offset_align (Linux 6.1), which the package's headers are too old for.</summary>
    internal const uint STATX_DIOALIGN = 0x2000;

    extension(in statx file)
    {
        internal bool IsRegularFile => S_ISREG(file.stx_mode);

        internal bool IsDirectory => S_ISDIR(file.stx_mode);

        internal bool IsBlockDevice => S_ISBLK(file.stx_mode);

        internal bool IsSocket => S_ISSOCK(file.stx_mode);

        internal bool SameFileAs(in statx other) =>
            file.stx_ino == other.stx_ino && file.stx_dev_major == other.stx_dev_major && file.stx_dev_minor == other.stx_dev_minor;
    }

    /// <returns>0 or a negative errno</returns>
    internal static int OfPath(string path, out statx result, bool follow = true) =>
        Call(AT_FDCWD, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, out result);

    /// <returns>0 or a negative errno</returns>
    internal static int OfFile(int fd, out statx result) => Call(fd, "", AT_EMPTY_PATH, out result);

    /// <summary>What is known of an open file, with the alignment that O_DIRECT needs on it.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int OfFile(int fd, uint mask, out statx_aligned result)
    {
        byte none = 0;
        fixed (statx_aligned* target = &result)
            return Errno.Of(statx(fd, &none, AT_EMPTY_PATH, mask, (statx*)target));
    }

    private static int Call(int directory, string path, int flags, out statx result)
    {
        using var name = new CString(path, stackalloc byte[CString.Room]);
        fixed (statx* target = &result)
            return Errno.Of(statx(directory, name, flags, STATX_BASIC_STATS | STATX_BTIME, target));
    }

    /// <summary>Makes a directory in an open one, or in the working directory (AT_FDCWD).</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int MakeDirectoryAt(int directory, string path, uint mode)
    {
        using var name = new CString(path, stackalloc byte[CString.Room]);
        return Errno.Of(mkdirat(directory, name, (ushort)mode));
    }
}

/// <summary>struct statx with what came after the package's headers.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct statx_aligned
{
    [FieldOffset(0)] public statx file;
    [FieldOffset(152)] public uint stx_dio_mem_align;
    [FieldOffset(156)] public uint stx_dio_offset_align;
}
