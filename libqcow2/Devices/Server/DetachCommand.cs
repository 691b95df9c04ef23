using System;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Exports.NbdKernel;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// Ends a device from outside its server, in whatever state that is. Never waits longer than it was told to. When it returns success
/// nothing of the device is left, or the note says what is.
/// </summary>
internal static class DetachCommand
{
    /// <summary>Between the answer and the end of the process there is only removal of a few names.</summary>
    private static readonly TimeSpan s_exitTimeout = TimeSpan.FromSeconds(10);

    /// <summary>A server that says nothing for so long is not busy: it is stopped, or its control threads hang.</summary>
    private static readonly TimeSpan s_greeting = TimeSpan.FromSeconds(3);

    /// <exception cref="OutcomeException">its server died meanwhile, or does not answer</exception>
    public static Outcome Run(DeviceRegistry registry, DeviceEntry entry, ControlRequest request)
    {
        ArgumentNullException.ThrowIfNull(registry);
        ArgumentNullException.ThrowIfNull(entry);
        if (!entry.Alive)
            return DeadDevice.Detach(registry, entry, request.Force, request.Timeout);
        return request.Force ? ByForce(registry, entry, request) : ByAsking(registry, entry, request);
    }

    private static Outcome ByAsking(DeviceRegistry registry, DeviceEntry entry, ControlRequest request)
    {
        using var client = ControlClient.TryConnect(registry.Directory, entry.Record.Name);
        return client is null
            ? Outcome.Refused(OutcomeKind.Busy, $"cannot detach {entry.Record.Name}", "its server is still starting", "try again")
            : AfterAnswer(client, entry, client.Ask(request).Result, request);
    }

    private static Outcome ByForce(DeviceRegistry registry, DeviceEntry entry, ControlRequest request)
    {
        try
        {
            using var client = ControlClient.TryConnect(registry.Directory, entry.Record.Name);
            if (client is not null && client.Greets(s_greeting))
                return AfterAnswer(client, entry, client.Ask(request).Result, request);
        }
        catch (OutcomeException)
        {
            // It accepts nobody, hangs in the middle of it, or died: what is left is ended below.
        }

        var name = entry.Record.Name;
        if (entry.Record.IsGuest)
        {
            return Outcome.Refused(OutcomeKind.Failed, $"cannot detach {name}",
                $"its server does not answer, and is part of another program (process {entry.Record.Pid})",
                "end that program, then detach again");
        }

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

    private static Outcome AfterAnswer(ControlClient client, DeviceEntry entry, Outcome result, ControlRequest request)
    {
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
