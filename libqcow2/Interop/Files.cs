using System;
using System.Runtime.InteropServices;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>File calls of <c>fcntl.h</c>, <c>unistd.h</c>, <c>sys/mman.h</c> and <c>sys/stat.h</c>. All return the kernel's
/// convention.</summary>
internal static unsafe partial class Files
{
    public const int FALLOC_FL_ZERO_RANGE = 16;

    public const int SEEK_DATA = 3;
    public const int SEEK_HOLE = 4;

    /// <summary>__O_TMPFILE, which is the same on every architecture that we are built for; with O_DIRECTORY it is O_TMPFILE.</summary>
    private const int NamelessFlag = 0x400000;

    public const long TMPFS_MAGIC = 0x01021994;
    public const long EXT4_SUPER_MAGIC = 0xef53;
    public const long XFS_SUPER_MAGIC = 0x58465342;
    public const long BTRFS_SUPER_MAGIC = 0x9123683e;
    public const long F2FS_SUPER_MAGIC = 0xf2f52010;
    public const int BLKSSZGET = 0x1268;

    public static int Open(string path, int flags, uint mode = 0)
    {
        using var name = new CString(path, stackalloc byte[CString.Room]);
        return Errno.Of(open(name, flags, (ushort)mode));
    }

    public static int Close(int fd) => Errno.Of(close(fd));

    public static int Truncate(int fd, long length) => Errno.Of(ftruncate(fd, length));

    public static long Read(int fd, void* buffer, nuint length, long offset) =>
        Errno.Of((long)pread(fd, buffer, (size_t)(ulong)length, offset));

    public static long Write(int fd, void* buffer, nuint length, long offset) =>
        Errno.Of((long)pwrite(fd, buffer, (size_t)(ulong)length, offset));

    /// <summary>Writes all of it.</summary>
    /// <returns>0 or a negative errno</returns>
    public static int WriteAll(int fd, ReadOnlySpan<byte> data, long offset)
    {
        while (!data.IsEmpty)
        {
            long count;
            fixed (byte* start = data)
                count = Write(fd, start, (nuint)data.Length, offset);
            if (count == -Errno.EINTR)
                continue;
            if (count < 0)
                return (int)count;
            data = data[(int)count..];
            offset += count;
        }

        return 0;
    }

    /// <summary>Reads until the memory is full or the file ends.</summary>
    /// <returns>bytes read or a negative errno</returns>
    public static int ReadAll(int fd, Span<byte> data, long offset)
    {
        var done = 0;
        while (done < data.Length)
        {
            long count;
            fixed (byte* start = data)
                count = Read(fd, start + done, (nuint)(data.Length - done), offset + done);
            if (count == -Errno.EINTR)
                continue;
            if (count < 0)
                return (int)count;
            if (count == 0)
                break;
            done += (int)count;
        }

        return done;
    }

    public static long ReadStream(int fd, void* buffer, nuint length) => Errno.Of((long)read(fd, buffer, (size_t)(ulong)length));

    public static long WriteStream(int fd, void* buffer, nuint length) => Errno.Of((long)write(fd, buffer, (size_t)(ulong)length));

    public static long Seek(int fd, long offset, int whence) => Errno.Of((long)lseek(fd, offset, whence));

    public static int StatFileSystem(int fd, statfs_buffer* result) => Errno.Of(FstatfsCall(fd, result));

    /// <summary>How large the file system of a file is, and how much of it this user may still fill, in bytes.</summary>
    /// <returns>0 or a negative errno</returns>
    public static int FileSystemSpace(int fd, out long size, out long free)
    {
        statfs_buffer status;
        var result = StatFileSystem(fd, &status);
        var block = (ulong)Math.Max(1, status.f_bsize);
        var most = (ulong)(long.MaxValue >> 4) / block;
        size = (long)(Math.Min(status.f_blocks, most) * block);
        free = (long)(Math.Min(status.f_bavail, most) * block);
        return result;
    }

    public static int SectorSize(int fd, int* result) => Errno.Of(ioctl(fd, BLKSSZGET, result));

    /// <summary>Returns the address, or 0 when there is no memory.</summary>
    public static nint Map(nuint length, int protection, int flags, int fd, long offset)
    {
        var address = (nint)mmap(null, (size_t)(ulong)length, protection, flags, fd, offset);
        return address == -1 ? 0 : address;
    }

    public static int Unmap(nint address, nuint length) => Errno.Of(munmap((void*)address, (size_t)(ulong)length));

    /// <summary>Keeps pages of a mapping in memory, as far as the limit allows.</summary>
    /// <returns>0 or a negative errno</returns>
    public static int Lock(nint address, nuint length) => Errno.Of(mlock((void*)address, (size_t)(ulong)length));

    /// <summary>A file without a name in a directory.</summary>
    /// <returns>a descriptor, or a negative errno: -EOPNOTSUPP where the file system has no such files</returns>
    public static int OpenNameless(string directory, int flags, uint mode) => Open(directory, flags | NamelessFlag | O_DIRECTORY, mode);

    /// <summary>Gives a name to an open file that has none; one that exists stays.</summary>
    /// <returns>0 or a negative errno</returns>
    public static int Name(int fd, string path)
    {
        const int AT_SYMLINK_FOLLOW = 0x400;
        return Errno.Of(LinkAt(AT_FDCWD, $"/proc/self/fd/{fd}", AT_FDCWD, path, AT_SYMLINK_FOLLOW));
    }

    public static int ChangeMode(int fd, uint mode) => Errno.Of(FchmodCall(fd, mode));

    public static int ChangeOwner(int fd, uint user, uint group) => Errno.Of(FchownCall(fd, user, group));

    public static int EventFd() => Errno.Of(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));

    public static int Allocate(int fd, int mode, long offset, long length) => Errno.Of(fallocate(fd, mode, offset, length));

    public static int Sync(int fd) => Errno.Of(fsync(fd));

    public static int SyncData(int fd) => Errno.Of(fdatasync(fd));

    [LibraryImport("libc", EntryPoint = "linkat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LinkAt(int fromDirectory, string from, int toDirectory, string to, int flags);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    private static partial int FchmodCall(int fd, uint mode);

    [LibraryImport("libc", EntryPoint = "fchown", SetLastError = true)]
    private static partial int FchownCall(int fd, uint user, uint group);

    [LibraryImport("libc", EntryPoint = "fstatfs", SetLastError = true)]
    private static partial int FstatfsCall(int fd, statfs_buffer* result);
}

/// <summary>The first fields of <c>struct statfs</c>; its size is an upper bound for all 64-bit targets.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct statfs_buffer
{
    [FieldOffset(0)] public long f_type;
    [FieldOffset(8)] public long f_bsize;
    [FieldOffset(16)] public ulong f_blocks;
    [FieldOffset(24)] public ulong f_bfree;
    [FieldOffset(32)] public ulong f_bavail;
}
