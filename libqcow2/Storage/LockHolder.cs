using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using Qcow2Blk.Interop;
using Tmds.Linux;

namespace Qcow2Blk.Storage;

/// <summary>Who holds a lock that is in our way, as far as /proc shows it.</summary>
/// <param name="Name">"qemu-nbd (process 1234)", or "another process" where it could not be found</param>
/// <param name="Lives">
/// whether a process that is not ending holds it. A lock that nobody visible holds may be that of a process which is gone: the
/// kernel keeps the file open until the last writes of its ring have ended. Or it is another user's, or another container's.
/// </param>
internal readonly record struct LockHolder(string Name, bool Lives)
{
    internal static readonly LockHolder Unknown = new("another process", Lives: false);

    /// <summary>
    /// Looks for the holder. The kernel does not tell for locks of open file descriptions, but /proc/PID/fdinfo lists them with
    /// each descriptor; without root those of other users stay hidden. Costs a look at every descriptor of the machine.
    /// </summary>
    /// <param name="fd">our descriptor of the file</param>
    /// <param name="offset">the byte that is locked</param>
    internal static LockHolder Find(int fd, long offset)
    {
        if (Stat.OfFile(fd, out var file) < 0)
            return Unknown;
        var found = Unknown;
        foreach (var directory in Entries("/proc"))
        {
            if (found.Lives || !int.TryParse(Path.GetFileName(directory), NumberStyles.None, CultureInfo.InvariantCulture, out var process)
                || process == Environment.ProcessId || !Holds(process, file, offset))
            {
                continue;
            }
            // A dying process may share the file with one that lives on: fork passes locks on.
            found = Of(process);
        }

        if (found.Lives || !Holds(Environment.ProcessId, file, offset, besides: fd))
            return found;
        return new LockHolder("this process", Lives: true);
    }

    /// <summary>A process that is known to hold it.</summary>
    internal static LockHolder Of(int process)
    {
        var lives = !ProcessEnd.HasBegun(process);
        var name = Describe(process);
        return new LockHolder(lives ? name : $"{name}, which is ending", lives);
    }

    private static string Describe(int process)
    {
        try
        {
            return $"{File.ReadAllText($"/proc/{process}/comm").Trim()} (process {process})";
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return $"process {process}";
        }
    }

    private static bool Holds(int process, in statx file, long offset, int besides = -1)
    {
        foreach (var descriptor in Entries($"/proc/{process}/fd"))
        {
            var number = Path.GetFileName(descriptor);
            if (number != besides.ToString(CultureInfo.InvariantCulture)
                && Stat.OfPath(descriptor, out var opened) == 0 && opened.SameFileAs(file)
                && HasLock($"/proc/{process}/fdinfo/{number}", offset))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>"lock:	1: OFDLCK ADVISORY READ -1 fe:00:1234 100 101": type, mode, access, process, file, first, last.</summary>
    private static bool HasLock(string fdinfo, long offset)
    {
        foreach (var line in Lines(fdinfo))
        {
            if (!line.StartsWith("lock:", StringComparison.Ordinal))
                continue;
            var words = line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 9
                && long.TryParse(words[7], NumberStyles.None, CultureInfo.InvariantCulture, out var first)
                && offset >= first
                && (words[8] == "EOF"
                    || (long.TryParse(words[8], NumberStyles.None, CultureInfo.InvariantCulture, out var last) && offset <= last)))
            {
                return true;
            }
        }

        return false;
    }

    private static string[] Entries(string directory)
    {
        try
        {
            return Directory.GetFileSystemEntries(directory);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static string[] Lines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
