using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text;
using System.Threading;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports;

/// <summary>
/// Who uses a block device, such that ending it would take a disk from under somebody. Looks at the disk itself and at
/// its partitions. No file system is touched, and nothing here reads from the device, except
/// <see cref="FindExclusive"/>, whose open the kernel may answer with a scan for partitions.
/// </summary>
/// <param name="sysfs">where sysfs is</param>
/// <param name="proc">where proc is</param>
/// <param name="dev">where the device nodes are</param>
internal sealed class BlockDeviceUsers(string sysfs = "/sys", string proc = "/proc", string dev = "/dev")
{
    // Whoever watches devices (udev, multipathd) opens each for a moment after every change: those are no users.
    private const int OpenRetries = 10;
    private const int OpenRetryMilliseconds = 100;
    private static readonly TimeSpan s_openTimeout = TimeSpan.FromSeconds(5);

    /// <summary>The first user that is found, and what it does: "mounted on /mnt", "used by dm-0", "used as swap", "open in dd (pid
    /// 12)".</summary>
    /// <param name="name">the disk's name in the kernel: nbd0</param>
    /// <param name="tryExclusive">
    /// whether to ask the kernel too, by an exclusive open. Not while the device is held: that open may wait for its requests.
    /// </param>
    /// <returns>null if nobody is found</returns>
    public string? Find(string name, bool tryExclusive = true)
    {
        var parts = PartsOf(name);
        if (parts.Count == 0)
            return null;
        return FindMount(parts) ?? FindSwap(parts) ?? FindHolder(parts) ?? FindLoop(parts) ?? FindOpenThatStays(parts)
            ?? (tryExclusive ? FindExclusive(name) : null);
    }

    /// <summary>A disk or one of its partitions: its name, its number "major:minor", its directory in sysfs.</summary>
    private readonly record struct Part(string Name, string Number, string Directory);

    /// <summary>The disk first, then its partitions; empty if there is no such disk.</summary>
    private List<Part> PartsOf(string name)
    {
        var disk = Path.Combine(sysfs, "block", name);
        var parts = new List<Part>();
        if (ReadLine(Path.Combine(disk, "dev")) is not { } number)
            return parts;
        parts.Add(new Part(name, number, disk));
        foreach (var directory in DirectoriesOf(disk))
        {
            if (File.Exists(Path.Combine(directory, "partition")) && ReadLine(Path.Combine(directory, "dev")) is { } part)
                parts.Add(new Part(Path.GetFileName(directory), part, directory));
        }

        return parts;
    }

    /// <summary>By number, and by name: btrfs has numbers of its own. Also what only the host's first process sees mounted.</summary>
    private string? FindMount(List<Part> parts)
    {
        foreach (var process in (ReadOnlySpan<string>)["self", "1"])
        {
            foreach (var line in LinesOf(Path.Combine(proc, process, "mountinfo")))
            {
                // 36 35 98:0 /root /mnt options [tag...] - type source super-options
                var fields = line.Split(' ');
                var separator = Array.IndexOf(fields, "-");
                if (fields.Length < 5 || separator < 0)
                    continue;
                var source = separator + 2 < fields.Length ? Unescape(fields[separator + 2]) : "";
                foreach (var part in parts)
                {
                    if (fields[2] == part.Number || IsNode(source, part.Name))
                        return $"mounted on {Unescape(fields[4])}";
                }
            }
        }

        return null;
    }

    private string? FindSwap(List<Part> parts)
    {
        foreach (var line in LinesOf(Path.Combine(proc, "swaps")))
        {
            var path = Unescape(line.Split(' ', '\t')[0]);
            foreach (var part in parts)
            {
                if (IsNode(path, part.Name))
                    return "used as swap";
            }
        }

        return null;
    }

    /// <summary>Device mapper, md, bcache.</summary>
    private static string? FindHolder(List<Part> parts)
    {
        foreach (var part in parts)
        {
            foreach (var holder in EntriesOf(Path.Combine(part.Directory, "holders")))
            {
                var name = Path.GetFileName(holder);
                return ReadLine(Path.Combine(holder, "dm", "name")) is { } mapped ? $"used by {name} ({mapped})" : $"used by {name}";
            }
        }

        return null;
    }

    /// <summary>A loop device over ours is no holder to the kernel.</summary>
    private string? FindLoop(List<Part> parts)
    {
        foreach (var directory in DirectoriesOf(Path.Combine(sysfs, "block"), "loop*"))
        {
            if (ReadLine(Path.Combine(directory, "loop", "backing_file")) is not { } file)
                continue;
            foreach (var part in parts)
            {
                if (IsNode(file, part.Name))
                    return $"used by {Path.GetFileName(directory)}";
            }
        }

        return null;
    }

    private string? FindOpenThatStays(List<Part> parts)
    {
        for (var i = 0; ; i++)
        {
            if (FindOpen(parts) is not { } user)
                return null;
            if (i == OpenRetries)
                return user;
            Thread.Sleep(OpenRetryMilliseconds);
        }
    }

    /// <summary>Looks through the open files of all processes that may be looked at, but ours.</summary>
    private string? FindOpen(List<Part> parts)
    {
        var self = Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
        foreach (var directory in DirectoriesOf(proc))
        {
            var process = Path.GetFileName(directory);
            if (!char.IsAsciiDigit(process[0]) || process == self || IsWatcher(directory))
                continue;
            foreach (var file in EntriesOf(Path.Combine(directory, "fd")))
            {
                if (LinkOf(file) is not { } target)
                    continue;
                foreach (var part in parts)
                {
                    if (IsNode(target, part.Name))
                        return $"open in {ReadLine(Path.Combine(directory, "comm")) ?? "a process"} (pid {process})";
                }
            }
        }

        return null;
    }

    /// <summary>udev looks at every disk for a moment; at one that is suspended, that moment lasts until it goes on.</summary>
    private static bool IsWatcher(string directory) =>
        ReadLine(Path.Combine(directory, "comm")) is "(udev-worker)" or "systemd-udevd";

    /// <summary>
    /// The kernel gives no second exclusive open: whoever mounts the disk or a partition, in whatever namespace, holds
    /// the first.
    /// </summary>
    private string? FindExclusive(string name) =>
        BlockDeviceFlush.Try(Path.Combine(dev, name), s_openTimeout) == -Errno.EBUSY
            ? "open (mounted in another namespace, or held by another program)"
            : null;

    private bool IsNode(string path, string name) =>
        path.Length == dev.Length + 1 + name.Length && path.StartsWith(dev, StringComparison.Ordinal)
        && path[dev.Length] == '/' && path.EndsWith(name, StringComparison.Ordinal);

    private static string? LinkOf(string path)
    {
        try
        {
            return new FileInfo(path).LinkTarget;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null; // Closed meanwhile.
        }
    }

    private static string? ReadLine(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string[] LinesOf(string path)
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

    private static string[] DirectoriesOf(string path, string pattern = "*")
    {
        try
        {
            return Directory.GetDirectories(path, pattern);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static string[] EntriesOf(string path)
    {
        try
        {
            return Directory.GetFileSystemEntries(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return []; // Gone meanwhile, or somebody else's.
        }
    }

    /// <summary>The kernel writes space, tab, newline and backslash in these files as \ooo.</summary>
    private static string Unescape(string text)
    {
        if (!text.Contains('\\', StringComparison.Ordinal))
            return text;
        var result = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\' && i + 3 < text.Length && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) && IsOctal(text[i + 3]))
            {
                result.Append((char)(((text[i + 1] - '0') << 6) | ((text[i + 2] - '0') << 3) | (text[i + 3] - '0')));
                i += 3;
            }
            else
            {
                result.Append(text[i]);
            }
        }

        return result.ToString();
    }

    private static bool IsOctal(char digit) => digit is >= '0' and <= '7';
}
