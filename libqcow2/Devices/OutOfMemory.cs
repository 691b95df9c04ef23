using System;
using System.IO;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices;

/// <summary>What the kernel kills when memory runs out (proc(5), "oom_score_adj").</summary>
internal static class OutOfMemory
{
    /// <summary>
    /// Killing a server frees little, and everybody who writes to its disk to free memory waits meanwhile. Not -1000: a
    /// server that leaks must still be able to die.
    /// </summary>
    private const string Adjustment = "-900";

    /// <summary>Makes this process, and what it spawns, one of the last to be killed.</summary>
    internal static void Spare(ILog log)
    {
        try
        {
            File.WriteAllText("/proc/self/oom_score_adj", Adjustment);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            log.Debug($"cannot be kept from the kernel's out-of-memory killer: {HouseStyle.Of(error.Message)}");
        }
    }
}
