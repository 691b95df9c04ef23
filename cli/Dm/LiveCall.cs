using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;

namespace Qcow2Blk.Cli.Dm;

/// <summary>
/// <c>qcow2-dm check|snapshot|resize …</c>: qemu-img on the image of a running device, which is suspended meanwhile. File systems on it
/// are frozen first, as device-mapper does, so that a snapshot of them needs no repair.
/// </summary>
/// <param name="words">the arguments of qemu-img</param>
/// <param name="file">the image among them</param>
internal sealed class LiveCall(IReadOnlyList<string> words, string file)
{
    private string Call => $"qemu-img {string.Join(' ', words)}";

    private bool IsResize => words[0] == "resize";

    /// <summary>Long options may be shortened: --shr.</summary>
    private bool Shrinks => IsResize && words.Any(word => word.Length > 2 && "--shrink".StartsWith(word, StringComparison.Ordinal));

    internal int Run()
    {
        var registry = Targets.Registry();
        if (TopImage.Find(registry, file) is not { } entry)
        {
            DmCommand.Complain($"Can't find device by [{file}].");
            return DmCommand.Failed;
        }

        RefuseWhatHurts(entry.Record);
        var name = entry.Record.Name;
        Output.Line($"Suspending {name}.");
        using var frozen = FrozenFileSystems.On(entry.Record);
        if (!Ask(registry, name, ControlVerb.Suspend))
            return DmCommand.Failed;
        var status = DmCommand.Failed;
        try
        {
            status = Edit(name);
        }
        finally
        {
            Output.Line($"Resuming {name}.");
            if (!Ask(registry, name, ControlVerb.Resume))
            {
                status = DmCommand.Failed;
                frozen.Leave(name);
            }
        }

        return status;
    }

    /// <summary>What a file system on the device does not survive.</summary>
    /// <exception cref="OutcomeException">refused, nothing was done</exception>
    private void RefuseWhatHurts(DeviceRecord record)
    {
        if (words[0] == "snapshot" && AppliesSnapshot(words))
        {
            throw new OutcomeException(OutcomeKind.Busy, $"cannot apply a snapshot to {file}",
                $"{record.Name} is running, and its contents would change under whoever uses it",
                $"\"{DmCommand.Name} remove {file}\", apply it with qemu-img, and create the device again");
        }

        if (Shrinks && KernelNode.TryParse(record.DevicePath) is { } node
            && KernelDevices.FindUser(node) is { } user)
        {
            throw new OutcomeException(OutcomeKind.Busy, $"cannot shrink {file}", $"{node.Path} is {user}", "stop using it");
        }
    }

    /// <summary>-a NAME, -aNAME, or in a cluster such as -qa; not the name of a snapshot that begins so.</summary>
    internal static bool AppliesSnapshot(IReadOnlyList<string> words)
    {
        for (var i = 1; i < words.Count - 1; i++)
        {
            var word = words[i];
            if (word == "--")
                return false;
            if (word.StartsWith("--", StringComparison.Ordinal))
            {
                // --object and --image-opts, of which one has a value.
                if (word == "--object")
                    i++;
                continue;
            }

            if (word.Length < 2 || word[0] != '-')
                continue;
            var letter = word.AsSpan(1).IndexOfAny("acdf");
            if (letter < 0)
                continue;
            if (word[letter + 1] == 'a')
                return true;
            // The value of -c, -d or -f is the rest of the word, or the next one.
            if (letter + 2 == word.Length)
                i++;
        }

        return false;
    }

    private int Edit(string name)
    {
        if (words[0] != "check" && !IsSound())
            return DmCommand.Failed;
        Output.Line($"===== Call:  {Call}. =====");
        var status = ChildProcess.Run("qemu-img", words);
        if (status != 0)
            DmCommand.Complain("Failed during qemu-img call.");
        Output.Line($"===== End of {Call}. =====");
        if (IsResize && status == 0)
            Output.Line($"Reloading {name}.");
        return status;
    }

    private bool IsSound()
    {
        var path = RealPath.Of(FilePath.Absolute(file));
        Output.Line($"Checking {path}");
        var status = ChildProcess.Run("qemu-img", "check", "-f", "qcow2", path);
        return status is 0 or DeviceCreation.OnlyLeaks;
    }

    private bool Ask(DeviceRegistry registry, string name, ControlVerb verb)
    {
        Outcome result;
        try
        {
            using var client = ControlClient.TryConnect(registry.Directory, name);
            result = client is null
                ? Outcome.Refused(OutcomeKind.Busy, $"cannot reach {name}", "its server is not running",
                    "\"qcow2blk list\" shows its state")
                : client.Ask(new ControlRequest(verb, ControlRequest.DefaultTimeout, Force: false,
                    AllowShrink: verb == ControlVerb.Resume && Shrinks)).Result;
        }
        catch (OutcomeException error)
        {
            result = Outcome.Refused(error.Kind, error.What, error.Why, error.Hint);
        }

        if (!result.Succeeded)
            Output.Error(result.What ?? name, result.Why ?? "unknown", result.Hint);
        // Of a new size, and of a kernel that cannot give it to the device.
        else if (result.Note is { } note)
            Output.Note($"{name}: {note}");
        return result.Succeeded;
    }
}
