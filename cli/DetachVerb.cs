using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Exports.NbdKernel;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk detach TARGET…</c>. Never waits longer than it was told to, whatever state a server is in.</summary>
internal sealed class DetachVerb : DeviceCommand
{
    /// <summary>Between the answer and the end of the process there is only removal of a few names.</summary>
    private static readonly TimeSpan s_exitTimeout = TimeSpan.FromSeconds(10);

    /// <summary>A server that says nothing for so long is not busy: it is stopped, or its control threads hang.</summary>
    private static readonly TimeSpan s_greeting = TimeSpan.FromSeconds(3);

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
        DeadDevice.Detach(registry, entry, request.Force, request.Timeout);

    protected override Outcome? OnUnknown(string target, ControlRequest request) =>
        KernelNode.TryParse(target) is { Transport: DeviceTransport.Ublk, Exists: true } node
            ? CleanupVerb.Remove(Targets.Registry(), node, request.Force, request.Timeout)
            : null;

    protected override Outcome OnAlive(DeviceRegistry registry, DeviceEntry entry, ControlRequest request)
    {
        if (!request.Force)
            return base.OnAlive(registry, entry, request);
        using (var client = ControlClient.TryConnect(registry.Directory, entry.Record.Name))
        {
            if (client is not null && client.Greets(s_greeting))
            {
                try
                {
                    return AfterSuccess(client, entry, client.Ask(request), request);
                }
                catch (OutcomeException)
                {
                    // It hangs in the middle of it, or died: what is left is ended below.
                }
            }
        }

        var name = entry.Record.Name;
        if (!DeadDevice.Kill(registry, name))
        {
            return Outcome.Refused(OutcomeKind.Failed, $"cannot detach {name}",
                $"its server (process {entry.Record.Pid}) does not end even when killed",
                "it is stuck in the kernel: see the kernel log");
        }

        if (registry.Find(name) is not { } dead)
            return Outcome.Done();
        var ended = DeadDevice.Detach(registry, dead, force: true, request.Timeout);
        return ended.Succeeded ? Outcome.Done("its server did not answer and was killed: unwritten data is lost") : ended;
    }

    protected override Outcome AfterSuccess(ControlClient client, DeviceEntry entry, ControlReply reply, ControlRequest request)
    {
        var result = reply.Result;
        var waitsForUser = request.Lazy && result.Note is not null;
        if (!result.Succeeded || waitsForUser)
            return result;
        var gone = client.WaitForEnd(s_exitTimeout)
            && entry.Record.Supervisor?.WaitForEnd(s_exitTimeout) is not false;
        if (!gone)
            return result with { Note = "detached, but its server has not ended yet" };
        if (KernelNode.TryParse(entry.Record.DevicePath) is not { } node)
            return result;
        if (request.Force && DeadDevice.Lingers(node) is { } note)
            return result with { Note = note };
        if (KernelDevices.WaitForEnd(node, s_exitTimeout))
            return result;
        // A server that was made to leave it behind: nobody serves it any more.
        var removed = DeadDevice.Remove(node, KernelNbdDevice.IdentifierOf(entry.Record.Name, entry.Record.Image),
            $"cannot detach {entry.Record.Name}", request.Timeout);
        return removed.Succeeded ? result : removed;
    }
}
