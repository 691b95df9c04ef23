using System;
using System.IO;
using System.Text;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// The mount namespace of a supervisor and its worker. The last process of a namespace unmounts everything in it as it
/// ends: a server that then had to write down a file system on its own device would wait for itself for ever.
/// </summary>
internal static class MountNamespace
{
    /// <summary>
    /// Moves the calling thread, and what it spawns, into a namespace that follows ours and is kept by the supervisor
    /// while workers come and go. Where that is not allowed, all goes on as it is.
    /// </summary>
    /// <param name="recovered">a device that already exists, and that may be mounted</param>
    /// <param name="log">told why not</param>
    internal static void Leave(string? recovered, ILog log)
    {
        var result = Mounts.Unshare();
        if (result == 0)
            result = Mounts.FollowOnly();
        if (result < 0)
        {
            log.Info($"cannot make a private mount namespace: {Errno.Text(result)}");
            return;
        }
        // The copy of a mount whose original does not tell us of its end would keep the device in use for ever.
        if (KernelNode.TryParse(recovered) is { } node)
            DetachMountsOf(node);
    }

    private static void DetachMountsOf(KernelNode node)
    {
        foreach (var line in File.ReadAllLines("/proc/thread-self/mountinfo"))
        {
            if (TargetOf(line, node) is { } target)
                _ = Mounts.Detach(target);
        }
    }

    /// <returns>where this line of proc(5)'s mountinfo says that the disk or a partition of it is mounted; null if it does not</returns>
    internal static string? TargetOf(string line, KernelNode node)
    {
        // 36 35 98:0 /root /mnt options [tag...] - type source super-options
        var separator = line.IndexOf(" - ", StringComparison.Ordinal);
        var fields = line.Split(' ');
        var source = separator < 0 ? [] : line[(separator + 3)..].Split(' ');
        return fields.Length > 4 && source.Length > 1 && IsPartOf(source[1], node.Path) ? Unescape(fields[4]) : null;
    }

    private static bool IsPartOf(string source, string disk) =>
        source.StartsWith(disk, StringComparison.Ordinal) && (source.Length == disk.Length || source[disk.Length] == 'p');

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
