using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>Memory locking of <c>sys/mman.h</c>.</summary>
internal static partial class Memory
{
    private const int MCL_CURRENT = 1;
    private const int MCL_FUTURE = 2;
    private const int MCL_ONFAULT = 4;

    /// <summary>
    /// Brings every page that this process has mapped now into memory and keeps it there, program and libraries too;
    /// what it maps later stays from its first use on. A server of a block device must not wait for pages that lie on
    /// that very device, nor for the host to find new ones.
    /// </summary>
    /// <returns>0 or a negative errno; without CAP_IPC_LOCK it fails and changes nothing</returns>
    public static int LockAll()
    {
        var error = Errno.Of(LockAllCall(MCL_CURRENT));
        return error < 0 ? error : Errno.Of(LockAllCall(MCL_FUTURE | MCL_ONFAULT));
    }

    [LibraryImport("libc", EntryPoint = "mlockall", SetLastError = true)]
    private static partial int LockAllCall(int flags);
}
