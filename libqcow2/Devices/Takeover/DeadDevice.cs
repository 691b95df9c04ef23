using System;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Takeover;

/// <summary>Ending a device whose server cannot do that: it is dead, or hangs.</summary>
internal static class DeadDevice
{
    /// <summary>A process that was killed and does not end hangs in the kernel; the device is taken away all the same.</summary>
    private static readonly TimeSpan s_killTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Ends the block device of a dead server, and cleans up after it.</summary>
    /// <param name="registry">where it is known</param>
    /// <param name="entry">the device; its server is dead</param>
    /// <param name="force">whoever uses it</param>
    /// <param name="timeout">how long the kernel may take</param>
    public static Outcome Detach(DeviceRegistry registry, DeviceEntry entry, bool force, TimeSpan timeout)
    {
        ArgumentNullException.ThrowIfNull(registry);
        ArgumentNullException.ThrowIfNull(entry);
        var record = entry.Record;
        var what = $"cannot detach {record.Name}";
        if (entry.IsRecovering && !force)
        {
            return Outcome.Refused(OutcomeKind.Busy, what, "its server died and is being started again",
                "try again in a moment; --force ends it now");
        }

        if (entry.IsRecovering)
            Kill(registry, record.Name);
        if (KernelNode.TryParse(record.DevicePath) is { Exists: true } node)
        {
            if (!force && KernelDevices.FindUser(node) is { } user)
            {
                return Outcome.Refused(OutcomeKind.Busy, what, $"its server is dead and {node.Path} is {user}",
                    $"\"qcow2blk attach --recover {record.Name}\" takes it over; --force takes the disk away");
            }

            if (Remove(node, KernelNbdDevice.IdentifierOf(record.Name, record.Image), what, timeout) is { Succeeded: false } refused)
                return refused;
        }
        // The device is gone, what was answered on it is not: it goes into the image now, or nowhere.
        var lost = DeadImage.Settle(record, registry.Directory.LogOf(record.Name), timeout);
        if (lost is not null && !force)
        {
            return Outcome.Refused(OutcomeKind.Failed, what, $"its last writes could not be written to {record.Image}: {lost}",
                "fix that and detach again; --force discards them");
        }

        if (!registry.RemoveDead(record.Name))
            return Outcome.Refused(OutcomeKind.Busy, what, "it is being attached again", "try again");
        // Its node may stay (/dev/nbdN), and udev looked at it while the device was known: its stable name goes now.
        KernelNode.TryParse(record.DevicePath)?.Announce();
        return Outcome.Done(lost is null ? "its server was dead; cleaned up after it"
            : $"its server was dead; cleaned up after it; its last writes are lost: {lost}");
    }

    /// <summary>Takes a block device away that nobody serves.</summary>
    public static Outcome Remove(KernelNode node, string identifier, string what, TimeSpan timeout)
    {
        try
        {
            var error = KernelDevices.Remove(node, identifier, timeout);
            if (error == 0 && Lingers(node) is { } note)
                return Outcome.Done(note);
            if (error == 0 && !KernelDevices.WaitForEnd(node, timeout))
                error = -Errno.ETIMEDOUT;
            return error switch
            {
                0 => Outcome.Done(),
                -Errno.ETIMEDOUT => Outcome.Refused(OutcomeKind.Failed, what, $"the kernel did not remove {node.Path} in time",
                    "it may still be open; try again"),
                _ => Outcome.Refused(OutcomeKind.Failed, what, $"cannot remove {node.Path}: {Errno.Text(error)}"),
            };
        }
        catch (ExportRefusedException refusal)
        {
            return Outcome.Refused(OutcomeKind.Failed, what, refusal.Message, refusal.Hint);
        }
    }

    /// <summary>Whether a disk that was taken away is there until its users close it: the kernel's NBD works so.</summary>
    /// <returns>what to tell the user; null if it goes at once</returns>
    public static string? Lingers(KernelNode node) => node.Transport == DeviceTransport.Nbd && KernelDevices.FindUser(node) is { } user
        ? $"{node.Path} is disconnected but stays until it is closed: it is {user}"
        : null;

    /// <summary>Kills the server of a device, its supervisor first: that would start another one.</summary>
    /// <returns>whether the device is dead now</returns>
    public static bool Kill(DeviceRegistry registry, string name)
    {
        ArgumentNullException.ThrowIfNull(registry);
        // Again and again, as a supervisor may have started a worker at the last moment.
        for (var attempt = 0; attempt < 3; attempt++)
        {
            if (registry.Find(name) is not { } entry)
                return true;
            entry.Record.Supervisor?.Kill(s_killTimeout);
            if (!entry.Alive)
                return true;
            KillHolder(registry, entry);
        }

        return registry.Find(name) is not { Alive: true };
    }

    private static void KillHolder(DeviceRegistry registry, DeviceEntry entry)
    {
        // The holder of the state file's lock has written its own number there: while the lock is held, the number is its.
        if (ProcessIdentity.Of(entry.Record.Pid) is not { } server)
            return;
        if (registry.Find(entry.Record.Name) is { Alive: true } still && still.Record.Pid == server.Pid)
            server.Kill(s_killTimeout);
    }
}
