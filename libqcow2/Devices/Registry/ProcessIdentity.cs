using System;
using System.Globalization;
using System.IO;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Registry;

/// <summary>A process that cannot be taken for a later one of the same number.</summary>
/// <param name="Pid">its number</param>
/// <param name="Start">when it began, in clock ticks since boot (proc(5), "starttime")</param>
internal readonly record struct ProcessIdentity(int Pid, long Start)
{
    /// <summary>Fields of /proc/PID/stat after the name: state is the first, starttime the 20th.</summary>
    private const int StateField = 0;
    private const int StartField = 19;

    public static ProcessIdentity Self => Of(Environment.ProcessId)!.Value;

    /// <summary>Whether it runs; a process that has ended and was not waited for does not.</summary>
    public bool IsAlive => Of(Pid) == this;

    /// <returns>null if there is no such process</returns>
    public static ProcessIdentity? Of(int pid)
    {
        try
        {
            var text = File.ReadAllText($"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/stat");
            // The name stands in parentheses and may hold anything.
            var fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
            return fields[StateField] is "Z" or "X" ? null
                : new ProcessIdentity(pid, long.Parse(fields[StartField], CultureInfo.InvariantCulture));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Kills it and waits for its end.</summary>
    /// <param name="timeout">how long its end may take: it may hang in the kernel</param>
    /// <returns>0 once it is gone (or was), or a negative errno</returns>
    public int Kill(TimeSpan timeout)
    {
        var process = Spawn.OpenProcess(Pid);
        // Looked at after it was opened: a number that changed hands meanwhile has another start.
        var result = process < 0 ? process : Of(Pid) != this ? -Errno.ESRCH : Spawn.Signal(process, SIGKILL);
        if (result == 0 && !UnixSocket.WaitReadable(process, (int)timeout.TotalMilliseconds))
            result = -Errno.ETIMEDOUT;
        if (process >= 0)
            _ = Unistd.Close(process);
        return result == -Errno.ESRCH ? 0 : result;
    }

    /// <summary>Waits for its end.</summary>
    /// <returns>false after the time</returns>
    public bool WaitForEnd(TimeSpan timeout)
    {
        var process = Spawn.OpenProcess(Pid);
        if (process < 0)
            return true;
        var ended = Of(Pid) != this || UnixSocket.WaitReadable(process, (int)timeout.TotalMilliseconds);
        _ = Unistd.Close(process);
        return ended;
    }
}
