using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>Thread attributes of <c>sys/prctl.h</c>: the runtime does not pass thread names to the kernel.</summary>
internal static partial class Threads
{
    private const int PR_SET_NAME = 15;

    /// <summary>Names the calling thread as top and ps show it; at most 15 bytes count.</summary>
    public static void SetName(string name) => Control(PR_SET_NAME, name, 0, 0, 0);

    [LibraryImport("libc", EntryPoint = "prctl", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Control(int option, string name, nuint a, nuint b, nuint c);
}
