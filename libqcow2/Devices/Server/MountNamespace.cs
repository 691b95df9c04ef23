using System.IO;
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
    internal static string? TargetOf(string line, KernelNode node) =>
        MountedFileSystem.Parse(line) is { } mount && mount.IsOn(node) ? mount.Target : null;
}
