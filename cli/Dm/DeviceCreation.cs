using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Format;
using Qcow2Blk.Inspect;

namespace Qcow2Blk.Cli.Dm;

/// <summary><c>qcow2-dm create FILE DEVICE_NAME</c>.</summary>
internal static class DeviceCreation
{
    /// <summary>qemu-img check: no errors, but clusters that nothing refers to.</summary>
    internal const int OnlyLeaks = 3;

    /// <summary>The script waited until whoever had the image was done, if ever.</summary>
    private static readonly TimeSpan s_lockPatience = TimeSpan.FromSeconds(10);

    /// <summary>For udev to make the name; dmsetup waited for it, too.</summary>
    private static readonly TimeSpan s_namePatience = TimeSpan.FromSeconds(5);

    internal static int Run(string file, string name)
    {
        if (!DeviceName.IsValid(name))
            throw new OutcomeException(OutcomeKind.Invalid, $"\"{name}\" is not a valid device name", DeviceName.Rule);
        if (TopImage.Find(Targets.Registry(), file) is { Record: var other })
        {
            throw new OutcomeException(OutcomeKind.Busy, $"cannot create {name}", $"{file} is already attached as {other.Name}",
                $"\"{DmCommand.Name} remove {file}\" first");
        }

        if (!File.Exists(file))
            return Missing(file);
        WaitForImage(file, name);
        if (!IsSound(file))
            return DmCommand.Failed;
        if (!ReadChain(file, out var size, out var files, out var assumed))
            return DmCommand.Failed;
        Output.Line($"Create device [{name}] of size {size} from [{string.Join(' ', files)}].");
        var settings = new AttachSettings(
            new AttachOptions { Image = FilePath.Absolute(file), Name = name, BackingFormat = assumed });
        var record = BackgroundServer.Start(settings.ToOptions(), ServerProgram.Self(JitHost.Arguments), Timeout.InfiniteTimeSpan);
        WaitForName(record);
        return 0;
    }

    /// <exception cref="OutcomeException">another program has the image, and keeps it</exception>
    private static void WaitForImage(string file, string name)
    {
        var deadline = Environment.TickCount64 + (long)s_lockPatience.TotalMilliseconds;
        var told = false;
        while (UserOf(file) is { } user)
        {
            if (Environment.TickCount64 >= deadline)
            {
                throw new OutcomeException(OutcomeKind.Busy, $"cannot create {name}",
                    $"{file} is in use by {user}; waited {s_lockPatience.TotalSeconds:0} s", "stop it and try again");
            }

            if (!told)
                Output.Note($"{file} is in use by {user}: waiting up to {s_lockPatience.TotalSeconds:0} s");
            told = true;
            Thread.Sleep(100);
        }
    }

    private static string? UserOf(string file)
    {
        using var opened = InspectedFile.Open(FilePath.Absolute(file));
        return ImageUse.WriterOf(opened);
    }

    /// <summary>Leaks cost space and no data; the script refused them, those who ran it in production did not.</summary>
    private static bool IsSound(string file)
    {
        var status = ChildProcess.Run("qemu-img", "check", "-f", "qcow2", FilePath.Absolute(file));
        if (status == OnlyLeaks)
            Output.Note($"{file} has leaked clusters, which cost space but no data: \"qemu-img check -r leaks\" frees them");
        return status is 0 or OnlyLeaks;
    }

    /// <param name="file">the image</param>
    /// <param name="size">the bytes of its disk</param>
    /// <param name="files">the images by the names that they were found by, the top first</param>
    /// <param name="assumed">the format of backing files where no image states it</param>
    private static bool ReadChain(string file, out long size, out IReadOnlyList<string> files, out ImageFormat? assumed)
    {
        assumed = AssumedFormat(file);
        using var chain = InspectedChain.Open(file, ImageFormat.Qcow2, new BackingChoice(null, assumed));
        size = chain.Images[0].DiskSize;
        files = [.. chain.Images.Select(image => image.File.Path)];
        Output.Line($"disk_sz={size}");
        if (chain.Broken is not { } broken)
            return true;
        if (chain.Images[^1].Header is { BackingFile: { } below } overlay && BackingPath.Resolve(overlay.Path, below) is var path
            && !File.Exists(path))
        {
            return Missing(path) == 0;
        }

        throw Refusals.From(broken, $"cannot read the backing files of {file}");
    }

    /// <summary>
    /// The driver knew no other format than qcow2, so no image needed to state that of its backing file. Where the first one states
    /// another format, to assume this one would contradict it.
    /// </summary>
    private static ImageFormat? AssumedFormat(string file)
    {
        using var top = InspectedImage.Open(file, ImageFormat.Qcow2);
        return top.Header?.BackingFormat is "raw" ? null : ImageFormat.Qcow2;
    }

    private static int Missing(string file)
    {
        Output.Line($"{file} does not exist.");
        return DmCommand.Failed;
    }

    private static void WaitForName(DeviceRecord record)
    {
        var link = $"/dev/qcow2blk/{record.Name}";
        var deadline = Environment.TickCount64 + (long)s_namePatience.TotalMilliseconds;
        while (File.Exists("/run/udev/control") && !File.Exists(link) && Environment.TickCount64 < deadline)
            Thread.Sleep(20);
        if (!File.Exists(link))
            Output.Note($"{record.DevicePath} has no name {link}: udev, or the rule that qcow2blk installs for it, is missing");
    }
}
