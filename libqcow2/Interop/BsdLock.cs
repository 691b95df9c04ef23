using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>sys/file.h: flock(2), the lock that a directory can have too.</summary>
internal static partial class BsdLock
{
    internal const int LOCK_SH = 1;

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int FlockRaw(int fd, int operation);

    /// <summary>Takes a lock that others may share; waits for one who has it alone. It ends with the open file description.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Share(int fd)
    {
        int result;
        do
            result = Errno.Of(FlockRaw(fd, LOCK_SH));
        while (result == -Errno.EINTR);
        return result;
    }
}
