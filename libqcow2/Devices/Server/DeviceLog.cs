using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Server;

/// <summary>Tells the log what has become of a device where nothing else does: those are no errors, but somebody has to act.</summary>
internal static class DeviceLog
{
    /// <summary>Tells until the watch ends.</summary>
    public static DeviceWatch Follow(IDevice device, ILog log)
    {
        var watch = device.Events.Watch();
        _ = FollowAsync(watch, device, log);
        return watch;
    }

    private static async Task FollowAsync(DeviceWatch watch, IDevice device, ILog log)
    {
        var waiting = 0;
        var isAway = false;
        while (await watch.TakeAsync() is { Count: > 0 } events)
        {
            foreach (var what in events)
            {
                if (what.Kind == WatchKind.State)
                    TellSource(what.State == DeviceState.WaitingForSource, ref isAway, device, log);
                if (what.Kind == WatchKind.Corrupt)
                    log.Write(LogLevel.Error, LogEvent.Corrupt, $"{device.ImagePath} takes no more writes: {what.Message}");
                if (what.Kind != WatchKind.NoSpace)
                    continue;
                if (waiting == 0 && what.Waiting > 0)
                {
                    log.Write(LogLevel.Warning, LogEvent.NoSpace,
                        $"requests of {device.Name} wait for space: the file system of {device.ImagePath} is full");
                }
                else if (waiting > 0 && what.Waiting == 0)
                {
                    log.Info($"requests of {device.Name} no longer wait for space");
                }

                waiting = what.Waiting;
            }
        }
    }

    private static void TellSource(bool isAwayNow, ref bool isAway, IDevice device, ILog log)
    {
        if (isAwayNow && !isAway)
            log.Write(LogLevel.Warning, LogEvent.SourceAway, $"requests of {device.Name} wait for the source of its base, which is away");
        else if (isAway && !isAwayNow)
            log.Info($"requests of {device.Name} no longer wait for the source of its base");
        isAway = isAwayNow;
    }
}
