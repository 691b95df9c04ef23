using System;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>fcntl.h: opening files for control purposes, and open-file-description locks (fcntl(2), "Open file description
/// locks").</summary>
internal static unsafe class Fcntl
{
    /// <returns>the descriptor, or -1 with the last error set</returns>
    internal static int Open(string path, int flags, uint mode)
    {
        using var name = new CString(path, stackalloc byte[CString.Room]);
        return open(name, flags, (ushort)mode);
    }

    /// <returns>what the command returns, or -1 with the last error set</returns>
    internal static int Control(int fd, int command, nint argument) => fcntl(fd, command, (void*)argument);

    /// <summary>Takes or drops (F_UNLCK) a lock on a byte range.</summary>
    /// <returns>0 or a negative errno; -EAGAIN if another description's lock is in the way</returns>
    internal static int SetLock(int fd, int type, long start, long length)
    {
        var range = Range(type, start, length);
        return Errno.Of(fcntl(fd, F_OFD_SETLK, &range));
    }

    /// <summary>Asks whether a lock could be had, without taking it.</summary>
    /// <param name="fd">the file; its own locks do not count</param>
    /// <param name="type">F_RDLCK or F_WRLCK</param>
    /// <param name="start">first byte</param>
    /// <param name="length">bytes</param>
    /// <param name="holder">the process in the way; -1 if that is an open file description of anybody</param>
    /// <returns>0 if it could, 1 if not, or a negative errno</returns>
    internal static int TestLock(int fd, int type, long start, long length, out int holder)
    {
        var range = Range(type, start, length);
        var result = Errno.Of(fcntl(fd, F_OFD_GETLK, &range));
        holder = range.l_pid;
        if (result != 0)
            return result;
        return range.l_type == F_UNLCK ? 0 : 1;
    }

    /// <summary>Counts the locks of other descriptions in a range, which are apart from each other.</summary>
    /// <returns>how many, or a negative errno</returns>
    internal static int CountLocks(int fd, long start, long length)
    {
        if (length <= 0)
            return 0;
        var range = Range(F_WRLCK, start, length);
        var result = Errno.Of(fcntl(fd, F_OFD_GETLK, &range));
        if (result < 0 || range.l_type == F_UNLCK)
            return result;

        // The kernel names any of them, not the first.
        var (first, count, end) = ((long)range.l_start, (long)range.l_len, start + length);
        var before = CountLocks(fd, start, first - start);
        var foundEnd = count == 0 ? end : first + count;
        var after = before < 0 ? before : CountLocks(fd, foundEnd, end - foundEnd);
        return after < 0 ? after : before + 1 + after;
    }

    private static flock Range(int type, long start, long length) =>
        new() { l_type = (short)type, l_whence = (short)SEEK_SET, l_start = start, l_len = length };

    /// <summary>Opens a path that begins in an open directory, or in the working directory (AT_FDCWD).</summary>
    /// <returns>the descriptor, or a negative errno</returns>
    internal static int OpenAt(int directory, string path, int flags, uint mode = 0)
    {
        using var name = new CString(path, stackalloc byte[CString.Room]);
        return Errno.Of(openat(directory, name, flags, (ushort)mode));
    }
}
