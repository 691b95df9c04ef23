using System;
using System.Globalization;
using System.IO;

namespace Qcow2Blk.Storage;

/// <summary>
/// Whether a process will not run again: it was killed, or is ending. Its descriptors may still be open for as long as the
/// kernel waits for what its ring has begun.
/// </summary>
internal static class ProcessEnd
{
    /// <summary>Fields of /proc/PID/stat after the name (proc(5)): state is the first, flags the seventh.</summary>
    private const int StateField = 0;
    private const int FlagsField = 6;

    // linux/sched.h
    private const uint PF_EXITING = 0x4;
    private const uint PF_SIGNALED = 0x400;

    private const int SIGKILL = 9;

    /// <summary>A process that is gone, or of which nothing can be read, has begun to end too.</summary>
    internal static bool HasBegun(int process)
    {
        var directory = $"/proc/{process.ToString(CultureInfo.InvariantCulture)}";
        try
        {
            // In this order: a kill that is not pending any more has set its flag.
            var status = File.ReadAllText($"{directory}/status");
            return HasBegun(File.ReadAllText($"{directory}/stat"), status);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return true;
        }
    }

    /// <summary>The same from the texts.</summary>
    /// <param name="stat">/proc/PID/stat</param>
    /// <param name="status">/proc/PID/status</param>
    internal static bool HasBegun(string stat, string status)
    {
        // The name stands in parentheses and may hold anything.
        var fields = stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length <= FlagsField)
            return true;
        if (fields[StateField] is "Z" or "X" or "x")
            return true;
        return (uint.TryParse(fields[FlagsField], NumberStyles.None, CultureInfo.InvariantCulture, out var flags)
                && (flags & (PF_EXITING | PF_SIGNALED)) != 0)
            || IsKillPending(status, "SigPnd:") || IsKillPending(status, "ShdPnd:");
    }

    /// <summary>A kill that was not taken yet: the thread waits in the kernel for what cannot be interrupted.</summary>
    private static bool IsKillPending(string status, string set)
    {
        var start = status.IndexOf("\n" + set, StringComparison.Ordinal);
        if (start < 0)
            return false;
        var value = status.AsSpan(start + 1 + set.Length);
        var end = value.IndexOf('\n');
        var digits = value[..(end < 0 ? value.Length : end)].Trim();
        return ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var signals)
            && (signals & (1UL << (SIGKILL - 1))) != 0;
    }
}
