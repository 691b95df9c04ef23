using System;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Server;

/// <summary>File systems that are mounted from a disk of ours or its partitions, as the first process of the machine sees them.</summary>
internal static class MountedFileSystems
{
    /// <summary>Makes each write down what it has in memory, for as long as that may take: a file system of its own may wait for
    /// something else.</summary>
    public static Task WriteDownAsync(KernelNode node, TimeSpan timeout)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var thread = new Thread(() =>
        {
            WriteDown(node);
            ended.SetResult();
        })
        { IsBackground = true, Name = "qcow2blk-sync" };
        thread.Start();
        return Task.WhenAny(ended.Task, Task.Delay(timeout));
    }

    private static void WriteDown(KernelNode node)
    {
        foreach (var target in TargetsOf(node))
        {
            // As the first process sees it: a server that took a device over has left its mounts (MountNamespace).
            var folder = Fcntl.Open("/proc/1/root" + target, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
            if (folder < 0)
                folder = Fcntl.Open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
            if (folder < 0)
                continue;
            _ = Unistd.SyncFileSystem(folder);
            _ = Unistd.Close(folder);
        }
    }

    private static string[] TargetsOf(KernelNode node)
    {
        try
        {
            return [.. File.ReadLines("/proc/1/mountinfo").Select(line => MountNamespace.TargetOf(line, node)).OfType<string>()];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
