using System;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;

namespace Qcow2Blk.Cli.Mount;

/// <summary>
/// <c>umount.qcow2 DIR</c>: what umount(8) runs for what <see cref="MountHelper"/> mounted. When it returns, the image is complete and
/// unlocked. A file system that is unmounted without it takes its device along soon after.
/// </summary>
internal static class UnmountHelper
{
    internal const string Name = "umount.qcow2";

    private const string Usage = "umount.qcow2 DIR|DEVICE [-flnrv] [-N NAMESPACE] [-t TYPE]";

    internal static int Run(string[] args)
    {
        try
        {
            return Unmount(MountArguments.Parse(args, "flnrvc", "Nt", 1, Usage));
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, "cannot unmount");
            Output.Error(refusal);
            return (int)MountStatuses.Of(refusal.Kind);
        }
    }

    private static int Unmount(MountArguments arguments)
    {
        var name = arguments.Words[0];
        var source = arguments.IsElsewhere ? null : SourceOf(name);
        var status = ChildProcess.Run("umount", ["-i", .. arguments.PassOn("flnrvc"), name]);
        if (status != 0 || source is null || MountedFileSystem.DiskOf(source) is not { } disk)
            return status;
        var registry = Targets.Registry();
        var entry = registry.List().FirstOrDefault(entry => entry.Record.DevicePath == disk.Path);
        return entry is null || !entry.Record.Options.DetachWhenUnused ? status : Detach(registry, entry, arguments.Verbose);
    }

    private static int Detach(DeviceRegistry registry, DeviceEntry entry, bool verbose)
    {
        var result = Unmounted.Detach(registry, entry);
        if (!result.Succeeded)
        {
            Output.Error(result.What ?? $"cannot detach {entry.Record.Name}", result.Why ?? "unknown", result.Hint);
            return (int)MountStatuses.Of(result.Kind);
        }

        if (verbose)
            Output.Line($"{Name}: {result.Note ?? $"{entry.Record.Image} is detached"}");
        return (int)MountStatus.Done;
    }

    /// <returns>the device that is mounted there, or the device itself; null if nothing is</returns>
    private static string? SourceOf(string name)
    {
        var real = RealPath.Of(name);
        return MountedFileSystem.Read().LastOrDefault(mount => mount.Target == real || mount.Source == real)?.Source;
    }
}
