using System;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;

namespace Qcow2Blk.Cli.Mount;

/// <summary>
/// The end of a device whose file system was unmounted: at once, where nobody else uses it, so that the image can be used.
/// </summary>
internal static class Unmounted
{
    /// <summary>A dead server has been replaced by then, or its supervisor has given up.</summary>
    private static readonly TimeSpan s_recovery = TimeSpan.FromSeconds(30);

    /// <returns>how it went; if there are other users, they are waited for by the server</returns>
    internal static Outcome Detach(DeviceRegistry registry, DeviceEntry entry)
    {
        var name = entry.Record.Name;
        var deadline = Environment.TickCount64 + (long)s_recovery.TotalMilliseconds;
        while (true)
        {
            var result = Try(registry, entry);
            if (result.Succeeded)
                return result;
            // It died meanwhile and is being replaced, or another umount was quicker.
            var mayPass = entry.Alive ? result.Kind == OutcomeKind.Busy : entry.IsRecovering;
            if (!mayPass || Environment.TickCount64 >= deadline)
                return registry.Find(name) is null ? Outcome.Done() : result;
            Thread.Sleep(100);
            if (registry.Find(name) is not { } now)
                return Outcome.Done();
            entry = now;
        }
    }

    private static Outcome Try(DeviceRegistry registry, DeviceEntry entry)
    {
        try
        {
            return DetachCommand.Run(registry, entry,
                new ControlRequest(ControlVerb.Detach, ControlRequest.DefaultTimeout, Force: false, AllowShrink: false, Lazy: true));
        }
        catch (OutcomeException error)
        {
            return Outcome.Refused(OutcomeKind.Busy, error.What, error.Why, error.Hint);
        }
    }
}
