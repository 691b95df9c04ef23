using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>sys/inotify.h: to wait until a directory changes.</summary>
internal static unsafe partial class Inotify
{
    internal const int IN_CLOEXEC = 0x80000;
    internal const int IN_NONBLOCK = 0x800;
    internal const uint IN_MOVED_TO = 0x80;
    internal const uint IN_CREATE = 0x100;
    internal const uint IN_DELETE = 0x200;
    internal const uint IN_DELETE_SELF = 0x400;
    internal const uint IN_ONLYDIR = 0x1000000;

    /// <summary>Names that come to a directory, or go.</summary>
    private const uint Names = IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR;

    [LibraryImport("libc", EntryPoint = "inotify_init1", SetLastError = true)]
    private static partial int Init(int flags);

    [LibraryImport("libc", EntryPoint = "inotify_add_watch", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int AddWatch(int fd, string path, uint mask);

    /// <summary>Becomes readable when a name comes to the directory or goes from it.</summary>
    /// <returns>the descriptor, or a negative errno</returns>
    internal static int OfNames(string directory)
    {
        var fd = Init(IN_CLOEXEC | IN_NONBLOCK);
        if (fd < 0)
            return -Marshal.GetLastPInvokeError();
        if (AddWatch(fd, directory, Names) >= 0)
            return fd;
        var errno = Marshal.GetLastPInvokeError();
        _ = Unistd.Close(fd);
        return -errno;
    }
}
