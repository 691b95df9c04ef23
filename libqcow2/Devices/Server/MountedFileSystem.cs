using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using Qcow2Blk.Devices.Options;

namespace Qcow2Blk.Devices.Server;

/// <summary>One line of proc(5)'s mountinfo.</summary>
/// <param name="Target">where it is mounted</param>
/// <param name="Type">the type of the file system</param>
/// <param name="Source">what is mounted: a device node, or a word</param>
internal sealed record MountedFileSystem(string Target, string Type, string Source)
{
    /// <summary>All mounts that a process sees, the oldest first.</summary>
    /// <exception cref="IOException">there is no /proc</exception>
    internal static IReadOnlyList<MountedFileSystem> Read(string process = "self") =>
        [.. File.ReadAllLines($"/proc/{process}/mountinfo").Select(Parse).OfType<MountedFileSystem>()];

    /// <returns>null if the line is not one of mountinfo</returns>
    internal static MountedFileSystem? Parse(string line)
    {
        ArgumentNullException.ThrowIfNull(line);
        // 36 35 98:0 /root /mnt options [tag...] - type source super-options
        var fields = line.Split(' ');
        var separator = Array.IndexOf(fields, "-");
        return fields.Length > 4 && separator > 0 && separator + 2 < fields.Length
            ? new MountedFileSystem(Unescape(fields[4]), fields[separator + 1], Unescape(fields[separator + 2]))
            : null;
    }

    /// <summary>Whether it is on this disk or on a partition of it.</summary>
    internal bool IsOn(KernelNode disk) => DiskOf(Source) == disk;

    /// <summary>The disk that a node is, or is a partition of: /dev/ublkb0p1 is of /dev/ublkb0.</summary>
    /// <returns>null if it is not of a disk that this program can make</returns>
    internal static KernelNode? DiskOf(string node)
    {
        ArgumentNullException.ThrowIfNull(node);
        if (!node.StartsWith("/dev/", StringComparison.Ordinal))
            return null;
        if (KernelNode.TryParse(node) is { } disk)
            return disk;
        var part = node.LastIndexOf('p');
        return part > 0 && int.TryParse(node.AsSpan(part + 1), NumberStyles.None, CultureInfo.InvariantCulture, out _)
            ? KernelNode.TryParse(node[..part]) : null;
    }

    /// <summary>The kernel writes space, tab, newline and backslash as \ooo.</summary>
    private static string Unescape(string text)
    {
        var result = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            var escape = text[i] == '\\' && i + 3 < text.Length;
            result.Append(escape ? (char)Convert.ToInt32(text.Substring(i + 1, 3), 8) : text[i]);
            i += escape ? 3 : 0;
        }

        return result.ToString();
    }
}
