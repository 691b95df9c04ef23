using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk detach TARGET…</c>.</summary>
internal sealed class DetachVerb : DeviceCommand
{
    private readonly Option<bool> _force =
        Flag("--force", "detach even if the disk is in use, requests do not finish or data cannot be written; kill a server that hangs");
    private readonly Option<bool> _lazy = Flag("--lazy", "return at once; a block device in use is detached when its last user is gone");
    private readonly Option<bool> _all = Flag("--all", "detach every device");

    public DetachVerb()
        : base("detach", "flush, close the image and end the device; also ends devices whose server died",
            "qcow2blk detach disk",
            "qcow2blk detach /dev/ublkb0 --lazy",
            "qcow2blk detach /data/disk.qcow2 --timeout 120",
            "qcow2blk detach disk --force")
    {
        Options.Add(_lazy);
        Options.Add(_force);
        Options.Add(_all);
        TargetsMayBeMissing();
    }

    protected override IReadOnlyList<string> TargetsOf(ParseResult parsed, DeviceRegistry registry, string[] given)
    {
        var all = parsed.GetValue(_all);
        if (all && given.Length > 0)
            throw new OutcomeException(OutcomeKind.Invalid, "--all and TARGET cannot be used together", "--all means every device");
        if (!all && given.Length == 0)
        {
            throw new OutcomeException(OutcomeKind.Invalid, "bad detach command line", "TARGET is missing",
                "see \"qcow2blk detach --help\"");
        }

        return all ? [.. registry.List().Select(entry => entry.Record.Name)] : given;
    }

    protected override ControlRequest Request(ParseResult parsed, TimeSpan timeout)
    {
        bool force = parsed.GetValue(_force), lazy = parsed.GetValue(_lazy);
        if (force && lazy)
        {
            throw new OutcomeException(OutcomeKind.Invalid, "--force and --lazy cannot be used together",
                "one takes the disk away now, the other waits for its users");
        }

        return new(ControlVerb.Detach, timeout, force, AllowShrink: false, lazy);
    }

    protected override Outcome OnDead(DeviceRegistry registry, DeviceEntry entry, ControlRequest request) =>
        DetachCommand.Run(registry, entry, request);

    protected override Outcome OnAlive(DeviceRegistry registry, DeviceEntry entry, ControlRequest request) =>
        DetachCommand.Run(registry, entry, request);

    protected override Outcome? OnUnknown(string target, ControlRequest request) =>
        KernelNode.TryParse(target) is { Transport: DeviceTransport.Ublk, Exists: true } node
            ? CleanupVerb.Remove(Targets.Registry(), node, request.Force, request.Timeout)
            : null;
}
