using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Server;

/// <summary>How a process ended, in words.</summary>
internal static class ProcessEnd
{
    /// <param name="status">as a shell tells it: 128 + the signal that ended it; negative if nobody knows</param>
    /// <returns>to be put behind "the server": "was killed by signal 11 (SEGV)"</returns>
    internal static string Describe(int status)
    {
        // Whoever shares this process with us has waited for all its children, ours too.
        if (status < 0)
            return "ended";
        if (status <= 128)
            return $"ended with status {status}";
        var signal = status - 128;
        return Signals.NameOf(signal) is { } name ? $"was killed by signal {signal} ({name})" : $"was killed by signal {signal}";
    }

    /// <summary>Where the user finds out more.</summary>
    internal static string Hint(int status) => status == 128 + SIGKILL
        ? "the kernel does that when memory runs out: see \"dmesg\""
        : "see the system log";
}
