using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Cli.Mount;

/// <summary>
/// <c>mount.qcow2 IMAGE DIR</c>: what mount(8) runs for <c>mount -t qcow2</c>. Attaches the image, mounts a file system of it, and
/// leaves the device to end with its last user.
/// </summary>
internal static class MountHelper
{
    internal const string Name = "mount.qcow2";

    private const string Usage = "mount.qcow2 IMAGE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t qcow2.TYPE]";

    private static bool s_interrupted;

    internal static int Run(string[] args)
    {
        using var signals = EndSignals.WatchInForeground(() => s_interrupted = true);
        try
        {
            var status = Mount(MountArguments.Parse(args, "sfnv", "Not", 2, Usage));
            return status != 0 && s_interrupted ? (int)MountStatus.Interrupted : status;
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, "cannot mount");
            Output.Error(refusal);
            return (int)(s_interrupted ? MountStatus.Interrupted : MountStatuses.Of(refusal.Kind));
        }
    }

    private static int Mount(MountArguments arguments)
    {
        var (image, directory) = (FilePath.Absolute(arguments.Words[0]), RealPath.Of(arguments.Words[1]));
        var what = $"cannot mount {arguments.Words[0]}";
        var options = MountOptions.Parse(arguments.OptionList, image, arguments.Subtype);
        if (Unistd.EffectiveUser() != 0)
        {
            throw new OutcomeException(OutcomeKind.Invalid, what, "only root can mount a qcow2 image",
                "mount(8) runs its helpers with the rights of its caller, also where fstab says user");
        }

        if (options.NoFail && !File.Exists(image))
            return (int)MountStatus.Done;
        if (options.Remount)
            return Remount(arguments, options, directory, what);
        if (arguments.Fake)
            return (int)MountStatus.Done;
        if (!arguments.IsElsewhere && IsMounted(options, directory) is { } record)
        {
            // mount -a runs this again: it cannot tell by the name of the image that it is mounted.
            Output.Note($"{arguments.Words[0]} is already mounted on {directory} ({record})");
            return (int)MountStatus.Done;
        }

        return MountNew(arguments, options, directory, what);
    }

    private static int MountNew(MountArguments arguments, MountOptions options, string directory, string what)
    {
        using var image = AttachedImage.Take(options, what);
        if (s_interrupted)
            return (int)MountStatus.Interrupted;
        var node = FileSystemChoice.Find(image.Node, options, what);
        if (arguments.Verbose)
            Output.Line($"{Name}: {image.Record.Image} is attached as {image.Record.Name}, mounting {node} on {directory}");
        var status = RunMount(arguments, options, options.Inner, node, directory);
        if (status == 0)
        {
            image.Keep();
        }
        else if (options.ReadOnly)
        {
            Output.Note("a file system that was not unmounted has a journal to replay, which a read-only disk does not allow:"
                + " noload (ext4) or norecovery (xfs) mount it as it is");
        }

        return status;
    }

    /// <summary>The device and its disk stay as they are: only the file system learns of it.</summary>
    private static int Remount(MountArguments arguments, MountOptions options, string directory, string what)
    {
        if (Targets.Registry() is var registry && Mounts(directory).LastOrDefault() is { } mount
            && MountedFileSystem.DiskOf(mount.Source) is { } disk
            && registry.List().FirstOrDefault(entry => entry.Record.DevicePath == disk.Path) is { } device)
        {
            _ = AttachedImage.Usable(device.Record, options, what.Replace("mount", "remount", StringComparison.Ordinal));
            return arguments.Fake ? (int)MountStatus.Done
                : RunMount(arguments, options, "remount," + options.Inner, mount.Source, directory);
        }

        throw new OutcomeException(OutcomeKind.Failed, what.Replace("mount", "remount", StringComparison.Ordinal),
            $"no qcow2 image is mounted on {directory}");
    }

    /// <summary>mount(8) again, of the block device: it knows the file systems, their options and their own helpers.</summary>
    private static int RunMount(MountArguments arguments, MountOptions options, string list, string node, string directory)
    {
        // Tells umount(8) to call our helper, whoever unmounts. It is written into the table of mount(8).
        var helper = arguments.KeepsNoTable ? "" : ",helper=qcow2";
        return ChildProcess.Run("mount", (IEnumerable<string>)[
            .. arguments.PassOn("snv"), .. options.FileSystem is { } type ? ["-t", type] : (string[])[],
            "-o", list + helper, node, directory]);
    }

    /// <returns>the name of the device that is mounted there; null if it is not one of this image</returns>
    private static string? IsMounted(MountOptions options, string directory)
    {
        var attached = AttachedImage.Attached(Targets.Registry(), options.Attach.Options.Image, options.Attach.Options.Snapshot);
        return attached is { Record: var record } && KernelNode.TryParse(record.DevicePath) is { } node
            && Mounts(directory).LastOrDefault() is { } top && top.IsOn(node)
            && (options.Partition is null || top.Source == $"{node.Path}p{options.Partition}") ? record.Name : null;
    }

    private static IEnumerable<MountedFileSystem> Mounts(string directory) =>
        MountedFileSystem.Read().Where(mount => mount.Target == directory);
}
