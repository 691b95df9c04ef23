using System;
using System.Collections;
using System.Runtime.InteropServices;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>Thread attributes of <c>sys/prctl.h</c>: the runtime does not pass thread names to the kernel.</summary>
internal static partial class Threads
{
    private const int PR_SET_NAME = 15;
    private const int PR_SET_IO_FLUSHER = 57;
    private const int MaximumProcessors = 8192;

    /// <summary>Names the calling thread as top and ps show it; at most 15 bytes count.</summary>
    public static void SetName(string name) => Control(PR_SET_NAME, name, 0, 0, 0);

    /// <summary>
    /// Says that the calling thread serves a block device: the kernel's allocations on its behalf then never wait for
    /// that device. Needs CAP_SYS_RESOURCE.
    /// </summary>
    /// <returns>0 or a negative errno</returns>
    public static int SetIoFlusher() => Errno.Of(Control(PR_SET_IO_FLUSHER, 1, 0, 0, 0));

    /// <summary>Lets the calling thread run on these processors only.</summary>
    /// <returns>0 or a negative errno</returns>
    public static unsafe int SetAffinity(BitArray processors)
    {
        // The kernel's mask is an array of longs; a long one is cut to what the kernel knows.
        Span<byte> mask = stackalloc byte[MaximumProcessors / 8];
        mask.Clear();
        for (var i = 0; i < Math.Min(processors.Length, MaximumProcessors); i++)
        {
            if (processors[i])
                mask[i / 8] |= (byte)(1 << (i % 8));
        }

        fixed (byte* first = mask)
            return Errno.Of(sched_setaffinity(0, mask.Length, (cpu_set_t*)first));
    }

    [LibraryImport("libc", EntryPoint = "prctl", SetLastError = true)]
    private static partial int Control(int option, nuint value, nuint a, nuint b, nuint c);

    [LibraryImport("libc", EntryPoint = "prctl", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Control(int option, string name, nuint a, nuint b, nuint c);
}
