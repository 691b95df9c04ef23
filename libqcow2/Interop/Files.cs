using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>File calls of <c>fcntl.h</c>, <c>unistd.h</c>, <c>sys/mman.h</c> and <c>sys/stat.h</c>. All return the kernel's convention.</summary>
internal static unsafe partial class Files
{
    public const int O_RDONLY = 0;
    public const int O_RDWR = 2;
    public const int O_CREAT = 0x40;
    public const int O_EXCL = 0x80;
    public const int O_NONBLOCK = 0x800;
    public const int O_CLOEXEC = 0x80000;
    public const int O_PATH = 0x200000;

    // The open flags whose numbers depend on the processor.
    public static readonly int O_DIRECT =
        RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x10000 : 0x4000;

    public static readonly int O_NOFOLLOW =
        RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x8000 : 0x20000;

    public const int FALLOC_FL_KEEP_SIZE = 1;
    public const int FALLOC_FL_PUNCH_HOLE = 2;
    public const int FALLOC_FL_ZERO_RANGE = 16;

    public const int SEEK_DATA = 3;
    public const int SEEK_HOLE = 4;
    public const int SEEK_END = 2;

    public const int PROT_READ = 1;
    public const int PROT_WRITE = 2;
    public const int MAP_SHARED = 1;
    public const int MAP_PRIVATE = 2;
    public const int MAP_ANONYMOUS = 0x20;
    public const int MAP_NORESERVE = 0x4000;
    public const int MAP_POPULATE = 0x8000;

    public const int AT_EMPTY_PATH = 0x1000;
    public const uint STATX_BASIC_STATS = 0x7ff;
    public const uint STATX_DIOALIGN = 0x2000;
    public const long TMPFS_MAGIC = 0x01021994;
    public const long EXT4_SUPER_MAGIC = 0xef53;
    public const long XFS_SUPER_MAGIC = 0x58465342;
    public const long BTRFS_SUPER_MAGIC = 0x9123683e;
    public const long F2FS_SUPER_MAGIC = 0xf2f52010;
    public const uint S_IFMT = 0xf000;
    public const uint S_IFREG = 0x8000;
    public const uint S_IFBLK = 0x6000;
    public const ulong BLKSSZGET = 0x1268;

    public static int Open(string path, int flags, uint mode = 0) => Errno.Of(OpenCall(path, flags, mode));

    public static int Close(int fd) => Errno.Of(CloseCall(fd));

    public static int Truncate(int fd, long length) => Errno.Of(TruncateCall(fd, length));

    public static long Read(int fd, void* buffer, nuint length, long offset) => Errno.Of((long)PreadCall(fd, buffer, length, offset));

    public static long Write(int fd, void* buffer, nuint length, long offset) => Errno.Of((long)PwriteCall(fd, buffer, length, offset));

    public static long ReadStream(int fd, void* buffer, nuint length) => Errno.Of((long)ReadCall(fd, buffer, length));

    public static long WriteStream(int fd, void* buffer, nuint length) => Errno.Of((long)WriteCall(fd, buffer, length));

    public static long Seek(int fd, long offset, int whence) => Errno.Of(SeekCall(fd, offset, whence));

    public static int Stat(int fd, uint mask, statx_buffer* result) =>
        Errno.Of(StatxCall(fd, "", AT_EMPTY_PATH, mask, result));

    public static int StatFileSystem(int fd, statfs_buffer* result) => Errno.Of(FstatfsCall(fd, result));

    public static int SectorSize(int fd, int* result) => Errno.Of(IoctlCall(fd, BLKSSZGET, result));

    /// <summary>Returns the address, or 0 when there is no memory.</summary>
    public static nint Map(nuint length, int protection, int flags, int fd, long offset)
    {
        var address = MmapCall(0, length, protection, flags, fd, offset);
        return address == -1 ? 0 : address;
    }

    public static int Unmap(nint address, nuint length) => Errno.Of(MunmapCall(address, length));

    public static int EventFd() => Errno.Of(EventfdCall(0, O_CLOEXEC | 0x800));

    public static int Allocate(int fd, int mode, long offset, long length) => Errno.Of(FallocateCall(fd, mode, offset, length));

    public static int Sync(int fd) => Errno.Of(FsyncCall(fd));

    public static int SyncData(int fd) => Errno.Of(FdatasyncCall(fd));

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int FallocateCall(int fd, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FsyncCall(int fd);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int FdatasyncCall(int fd);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenCall(string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int CloseCall(int fd);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    private static partial int TruncateCall(int fd, long length);

    [LibraryImport("libc", EntryPoint = "pread", SetLastError = true)]
    private static partial nint PreadCall(int fd, void* buffer, nuint length, long offset);

    [LibraryImport("libc", EntryPoint = "pwrite", SetLastError = true)]
    private static partial nint PwriteCall(int fd, void* buffer, nuint length, long offset);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint ReadCall(int fd, void* buffer, nuint length);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint WriteCall(int fd, void* buffer, nuint length);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    private static partial long SeekCall(int fd, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatxCall(int fd, string path, int flags, uint mask, statx_buffer* result);

    [LibraryImport("libc", EntryPoint = "fstatfs", SetLastError = true)]
    private static partial int FstatfsCall(int fd, statfs_buffer* result);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int IoctlCall(int fd, ulong request, int* argument);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint MmapCall(nint address, nuint length, int protection, int flags, int fd, long offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int MunmapCall(nint address, nuint length);

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    private static partial int EventfdCall(uint initial, int flags);
}

/// <summary>The fields we read of <c>struct statx</c> (<c>linux/stat.h</c>, 256 bytes).</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct statx_buffer
{
    [FieldOffset(0)] public uint stx_mask;
    [FieldOffset(28)] public ushort stx_mode;
    [FieldOffset(32)] public ulong stx_ino;
    [FieldOffset(40)] public ulong stx_size;
    [FieldOffset(48)] public ulong stx_blocks;
    [FieldOffset(112)] public long stx_mtime_sec;
    [FieldOffset(120)] public uint stx_mtime_nsec;
    [FieldOffset(136)] public uint stx_dev_major;
    [FieldOffset(140)] public uint stx_dev_minor;
    [FieldOffset(152)] public uint stx_dio_mem_align;
    [FieldOffset(156)] public uint stx_dio_offset_align;
}

/// <summary>The first field of <c>struct statfs</c>; its size is an upper bound for all 64-bit targets.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct statfs_buffer
{
    [FieldOffset(0)] public long f_type;
}
