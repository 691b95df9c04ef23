using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>Memory locking of <c>sys/mman.h</c>.</summary>
internal static partial class Memory
{
    private const int MCL_CURRENT = 1;
    private const int MCL_FUTURE = 2;
    private const int MCL_ONFAULT = 4;

    /// <summary>
    /// Keeps every page of this process in memory once it was touched: a server of a block device must not wait for
    /// pages that lie on that very device. Pages never touched take no memory.
    /// </summary>
    /// <returns>0 or a negative errno; without CAP_IPC_LOCK it fails and changes nothing</returns>
    public static int LockAll() => Errno.Of(LockAllCall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));

    [LibraryImport("libc", EntryPoint = "mlockall", SetLastError = true)]
    private static partial int LockAllCall(int flags);
}
