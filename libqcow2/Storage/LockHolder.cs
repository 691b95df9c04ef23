using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Storage;

/// <summary>
/// Names who holds a lock. The kernel does not tell for locks of open file descriptions, but /proc/PID/fdinfo lists
/// them with each descriptor; processes of other users stay unnamed without root.
/// </summary>
internal static class LockHolder
{
    internal const string Unknown = "another process";

    /// <param name="fd">our descriptor of the file</param>
    /// <param name="offset">the byte that is locked</param>
    internal static string Find(int fd, long offset)
    {
        if (Stat.OfFile(fd, out Stat.Statx file) < 0)
            return Unknown;
        foreach (string directory in Entries("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), NumberStyles.None, CultureInfo.InvariantCulture, out int process)
                && process != Environment.ProcessId && Holds(process, file, offset))
                return Describe(process);
        }
        return Holds(Environment.ProcessId, file, offset, besides: fd) ? "this process" : Unknown;
    }

    internal static string Describe(int process)
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

    private static bool Holds(int process, in Stat.Statx file, long offset, int besides = -1)
    {
        foreach (string descriptor in Entries($"/proc/{process}/fd"))
        {
            string number = Path.GetFileName(descriptor);
            if (number != besides.ToString(CultureInfo.InvariantCulture)
                && Stat.OfPath(descriptor, out Stat.Statx opened) == 0 && opened.SameFileAs(file)
                && HasLock($"/proc/{process}/fdinfo/{number}", offset))
                return true;
        }
        return false;
    }

    /// <summary>"lock:	1: OFDLCK ADVISORY READ -1 fe:00:1234 100 101": type, mode, access, process, file, first, last.</summary>
    private static bool HasLock(string fdinfo, long offset)
    {
        foreach (string line in Lines(fdinfo))
        {
            if (!line.StartsWith("lock:", StringComparison.Ordinal))
                continue;
            string[] words = line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 9
                && long.TryParse(words[7], NumberStyles.None, CultureInfo.InvariantCulture, out long first)
                && offset >= first
                && (words[8] == "EOF" || (long.TryParse(words[8], NumberStyles.None, CultureInfo.InvariantCulture, out long last) && offset <= last)))
                return true;
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
