using System;
using System.Diagnostics;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// A block device that is in use when the machine goes down. Elsewhere it is left to the next server, but here none comes: whoever
/// unmounts it would wait for ever, and the machine with him. So it is served until its users have gone, or nobody is left who could
/// send them away.
/// </summary>
internal sealed partial class DeviceServer
{
    private static readonly TimeSpan s_lookAgain = TimeSpan.FromMilliseconds(500);

    /// <summary>Between two jobs of the service manager there may be a moment without one.</summary>
    private const int LooksWithoutOthers = 6;

    /// <summary>Service managers kill after 90 s, and what follows takes up to 25.</summary>
    private static TimeSpan Patience { get; } = TimeSpan.FromSeconds(60);

    /// <summary>The same where the service manager waits as long as it is asked to.</summary>
    private static TimeSpan ExtendedPatience { get; } = TimeSpan.FromMinutes(5);

    private static TimeSpan WriteDownTimeout { get; } = TimeSpan.FromSeconds(20);

    /// <summary>Whether the machine is going down.</summary>
    internal Func<bool> MachineStops { get; set; } = ServiceManager.IsStopping;

    /// <summary>Whether there is still somebody who may unmount it.</summary>
    internal Func<bool> OthersStop { get; set; } = ServiceManager.StopsOthers;

    private async Task<Outcome> DetachWhenUnmountedAsync(KernelNode node)
    {
        _log.Warning($"the machine is going down and {node.Path} is in use: it is served until it is unmounted");
        ServiceNotification.Stopping($"waiting until {node.Path} is unmounted");
        // Whoever suspended it is going, too, and its users wait for it.
        if (_device.State == DeviceState.Suspended)
            _ = await ResumeAsync(allowShrink: false, SignalTimeout, lockTimeout: null);
        if (await WaitForUsersAsync() is { } user)
        {
            _log.Write(LogLevel.Error, LogEvent.TakenAway,
                $"{node.Path} is still {user}: what was written to it is brought to disk, then it ends");
            await MountedFileSystems.WriteDownAsync(node, WriteDownTimeout);
        }

        var result = await DetachAsync(force: false, SignalTimeout);
        return result.Succeeded ? result : await DetachAsync(force: true, ForcedTimeout);
    }

    /// <returns>who uses the device nevertheless; null if nobody does</returns>
    private async Task<string?> WaitForUsersAsync()
    {
        var patience = ServiceNotification.IsHeard ? ExtendedPatience : Patience;
        var started = Stopwatch.GetTimestamp();
        var alone = 0;
        string? user;
        while ((user = await _device.FindUserAsync()) is not null && alone < LooksWithoutOthers
            && Stopwatch.GetElapsedTime(started) < patience)
        {
            ServiceNotification.StillEnding(WriteDownTimeout + SignalTimeout + ForcedTimeout + ForcedTimeout);
            await Task.Delay(s_lookAgain);
            alone = OthersStop() ? 0 : alone + 1;
        }

        return user;
    }
}
