using System;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;

namespace Qcow2Blk.Cli;

/// <summary>
/// <c>qcow2blk udev-name KERNEL_NAME</c>, for the udev rule only: prints <c>QCOW2BLK_NAME=disk</c> if a device of root's
/// registry has that node, and nothing otherwise. Asks no server, so it never waits for one.
/// </summary>
internal static class UdevName
{
    /// <summary>The hidden verb.</summary>
    internal const string Verb = "udev-name";

    /// <summary>The hidden verb of the sample rule for unprivileged devices: udev-owner ublkc0.</summary>
    internal const string OwnerVerb = "udev-owner";

    /// <summary>Prints whose ublk device that is, as variables of a udev rule; nothing if root made it.</summary>
    /// <returns>0 if somebody else did</returns>
    internal static int PrintOwner(string[] args)
    {
        try
        {
            var node = args.Length == 2 ? DiskOf(args[1]).Replace("ublkc", "ublkb", StringComparison.Ordinal) : null;
            if (KernelNode.TryParse(node) is not { Transport: DeviceTransport.Ublk } disk)
                return (int)ExitCode.Usage;
            if (KernelDevices.OwnerOf(disk.Index) is not { } owner)
                return (int)ExitCode.NotFound;
            Output.Line($"QCOW2BLK_OWNER={owner.User}\nQCOW2BLK_GROUP={owner.Group}");
            return (int)ExitCode.Done;
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, "udev-owner failed");
            Output.Error(refusal);
            return (int)ExitCodes.Of(refusal.Kind);
        }
    }

    /// <returns>0 if there is a name</returns>
    internal static int Print(string[] args)
    {
        try
        {
            if (args.Length != 2 || KernelNode.TryParse(DiskOf(args[1])) is not { } node)
                return (int)ExitCode.Usage;
            foreach (var entry in Targets.Registry().List())
            {
                if (entry.Record.DevicePath != node.Path || !IsMeant(entry))
                    continue;
                Output.Line($"QCOW2BLK_NAME={entry.Record.Name}");
                return (int)ExitCode.Done;
            }

            return (int)ExitCode.NotFound;
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, "udev-name failed");
            Output.Error(refusal);
            return (int)ExitCodes.Of(refusal.Kind);
        }
    }

    /// <summary>A disk that appears now is not the one of a server that is dead, though it has got the same number.</summary>
    private static bool IsMeant(DeviceEntry entry) =>
        entry.Alive || Environment.GetEnvironmentVariable("ACTION") != "add";

    /// <summary>ublkb0p1 is a partition of ublkb0, nbd0p1 of nbd0.</summary>
    private static string DiskOf(string name)
    {
        var part = name.LastIndexOf('p');
        return part > 0 && char.IsAsciiDigit(name[part - 1]) ? name[..part] : name;
    }
}
