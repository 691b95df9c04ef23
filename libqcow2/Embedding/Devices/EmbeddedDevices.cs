using System;
using System.Collections.Generic;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Embedding.Devices;

/// <summary>What is done to several devices at one instant.</summary>
internal static class EmbeddedDevices
{
    /// <summary>Does the same to all of them, or to none.</summary>
    /// <param name="devices">several handles may be of one device</param>
    /// <param name="edit">what to do</param>
    /// <param name="undo">takes it back</param>
    /// <param name="timeout">how long requests in progress may take</param>
    public static Outcome Edit(IEnumerable<EmbeddedDevice> devices, ImageEdit edit, ImageEdit undo, TimeSpan timeout)
    {
        ArgumentNullException.ThrowIfNull(devices);
        ArgumentNullException.ThrowIfNull(edit);
        var clients = new SortedDictionary<string, ControlClient>(StringComparer.Ordinal);
        try
        {
            foreach (var device in devices)
            {
                if (clients.ContainsKey(device.Name))
                    continue;
                var what = $"{ImageEdits.KindOf(edit).What(edit)} {device.Name}";
                if (device.Connect(what) is not { } client)
                    return EmbeddedDevice.HasEnded(what);
                clients.Add(device.Name, client);
            }

            foreach (var outcome in new JointEdit([.. clients.Values], edit, undo, timeout).RunAsync().GetAwaiter().GetResult())
            {
                if (!outcome.Succeeded)
                    return outcome.Note is { } note ? outcome with { Why = $"{outcome.Why}, {note}" } : outcome;
            }

            return Outcome.Done();
        }
        catch (OutcomeException error)
        {
            return EmbeddedDevice.Refused(error);
        }
        finally
        {
            foreach (var client in clients.Values)
                client.Dispose();
        }
    }
}
