using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>fcntl.h: opening files for control purposes, and open-file-description locks (fcntl(2), "Open file description locks").</summary>
internal static partial class Fcntl
{
    internal const int O_RDONLY = 0;
    internal const int O_WRONLY = 1;
    internal const int O_RDWR = 2;
    internal const int O_CREAT = 0x40;
    internal const int O_EXCL = 0x80;
    internal const int O_NOCTTY = 0x100;
    internal const int O_NONBLOCK = 0x800;
    internal const int O_CLOEXEC = 0x80000;
    internal const int O_PATH = 0x200000;

    internal const int F_SETFD = 2;
    internal const int FD_CLOEXEC = 1;
    internal const int F_OFD_GETLK = 36;
    internal const int F_OFD_SETLK = 37;
    internal const int F_DUPFD_CLOEXEC = 1030;

    internal const short F_RDLCK = 0;
    internal const short F_WRLCK = 1;
    internal const short F_UNLCK = 2;
    internal const short SEEK_SET = 0;

    /// <summary>struct flock of 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Flock
    {
        internal short l_type;
        internal short l_whence;
        internal long l_start;
        internal long l_len;
        internal int l_pid;
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Open(string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    internal static partial int Control(int fd, int command, nint argument);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    internal static partial int Lock(int fd, int command, ref Flock range);

    /// <summary>Takes or drops (F_UNLCK) a lock on a byte range.</summary>
    /// <returns>0 or a negative errno; -EAGAIN if another description's lock is in the way</returns>
    internal static int SetLock(int fd, short type, long start, long length)
    {
        var range = new Flock { l_type = type, l_whence = SEEK_SET, l_start = start, l_len = length };
        return Lock(fd, F_OFD_SETLK, ref range) == 0 ? 0 : -Marshal.GetLastPInvokeError();
    }

    /// <summary>Asks whether a lock could be had, without taking it.</summary>
    /// <param name="fd">the file; its own locks do not count</param>
    /// <param name="type">F_RDLCK or F_WRLCK</param>
    /// <param name="start">first byte</param>
    /// <param name="length">bytes</param>
    /// <param name="holder">the process in the way; -1 if that is an open file description of anybody</param>
    /// <returns>0 if it could, 1 if not, or a negative errno</returns>
    internal static int TestLock(int fd, short type, long start, long length, out int holder)
    {
        var range = new Flock { l_type = type, l_whence = SEEK_SET, l_start = start, l_len = length };
        int result = Lock(fd, F_OFD_GETLK, ref range);
        holder = range.l_pid;
        if (result != 0)
            return -Marshal.GetLastPInvokeError();
        return range.l_type == F_UNLCK ? 0 : 1;
    }

    // Their numbers depend on the processor.
    internal static int O_DIRECTORY => IsArm ? 0x4000 : 0x10000;

    internal static int O_NOFOLLOW => IsArm ? 0x8000 : 0x20000;

    private static bool IsArm => RuntimeInformation.ProcessArchitecture == Architecture.Arm64;

    [LibraryImport("libc", EntryPoint = "openat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenAtRaw(int directory, string path, int flags, uint mode);

    /// <summary>Opens a path that begins in an open directory, or in the working directory (<see cref="Stat.AT_FDCWD"/>).</summary>
    /// <returns>the descriptor, or a negative errno</returns>
    internal static int OpenAt(int directory, string path, int flags, uint mode = 0) => Errno.Of(OpenAtRaw(directory, path, flags, mode));
}
