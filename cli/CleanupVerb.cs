using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk cleanup</c>: removes ublk devices that nobody serves and no state file knows.</summary>
internal sealed class CleanupVerb : Verb
{
    private readonly Option<bool> _all = Flag("--all", "also remove devices made by other programs");
    private readonly Option<bool> _force = Flag("--force", "also remove devices in use; their users see I/O errors");
    private readonly Option<bool> _json = JsonFlag();

    public CleanupVerb()
        : base("cleanup", "remove ublk devices that have neither a server nor a state file (see list --orphans)",
            "qcow2blk cleanup", "qcow2blk cleanup --all")
    {
        Options.Add(_all);
        Options.Add(_force);
        Options.Add(_json);
        Does(Run);
    }

    private ExitCode Run(ParseResult parsed)
    {
        var registry = Targets.Registry();
        bool all = parsed.GetValue(_all), force = parsed.GetValue(_force);
        OrphanDevice[] orphans = [.. KernelDevices.Orphans(registry).Where(orphan => !orphan.ServerAlive && (all || orphan.IsOurs))];
        (OrphanDevice Orphan, Outcome Result)[] outcomes =
            [.. orphans.Select(orphan => (orphan, Remove(registry, orphan.Node, force, ControlRequest.DefaultTimeout)))];
        if (parsed.GetValue(_json))
            Output.Json(writer => Write(writer, outcomes));
        var status = ExitCode.Done;
        foreach ((var orphan, var result) in outcomes)
        {
            if (result.Succeeded && !parsed.GetValue(_json))
                Output.Line(orphan.Node.Path);
            if (result.Succeeded)
                continue;
            Output.Error(result.What!, result.Why!, result.Hint);
            status = status == ExitCode.Done ? ExitCodes.Of(result.Kind) : status;
        }

        return status;
    }

    /// <summary>Removes a device that no state file knows, unless somebody serves or uses it.</summary>
    internal static Outcome Remove(DeviceRegistry registry, KernelNode node, bool force, TimeSpan timeout)
    {
        var what = $"cannot remove {node.Path}";
        // Looked at again: it may have found a server since it was listed.
        var orphan = KernelDevices.Orphans(registry).FirstOrDefault(candidate => candidate.Node == node);
        if (orphan is null)
            return Outcome.Refused(OutcomeKind.Busy, what, "it is not an orphan", "\"qcow2blk list\" shows whose it is");
        if (orphan.ServerAlive)
            return Outcome.Refused(OutcomeKind.Busy, what, $"process {orphan.Pid} serves it", "stop that program first");
        if (!force && KernelDevices.FindUser(node) is { } user)
            return Outcome.Refused(OutcomeKind.Busy, what, $"it is {user}", "stop using it first; --force takes the disk away");
        return DeadDevice.Remove(node, "", what, timeout);
    }

    private static void Write(Utf8JsonWriter writer, IEnumerable<(OrphanDevice Orphan, Outcome Result)> outcomes)
    {
        writer.WriteStartArray();
        foreach ((var orphan, var result) in outcomes)
        {
            writer.WriteStartObject();
            writer.WriteString("device"u8, orphan.Node.Path);
            ControlReply.WriteResult(writer, result);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
