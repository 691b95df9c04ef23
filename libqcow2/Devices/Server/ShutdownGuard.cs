using System;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// What qcow2blk-shutdown.service does while the machine goes down: devices whose servers are dead, or were killed with the session that
/// they were started from, get new ones. Or else whoever unmounts them would wait for ever. What these servers do when nobody is
/// left to unmount is their own affair (<see cref="DeviceServer"/>).
/// </summary>
internal static class ShutdownGuard
{
    /// <summary>The hidden verb.</summary>
    public const string Verb = "guard-shutdown";

    private static readonly TimeSpan s_lookAgain = TimeSpan.FromMilliseconds(500);

    /// <summary>Less than the unit's TimeoutStopSec.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(5);

    private static readonly TimeSpan s_startTimeout = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan s_forcedTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Between two jobs of the service manager there may be a moment without one.</summary>
    private const int LooksWithoutOthers = 6;

    /// <summary>The whole life of the process. Not at the end of the machine it does nothing.</summary>
    public static OutcomeKind Main(ServerProgram program)
    {
        var registry = new DeviceRegistry(RuntimeDirectory.Locate());
        var log = new StderrLog(LogLevel.Warning);
        try
        {
            void Recover(DeviceRecord record) => BackgroundServer.Start(Recovery.OptionsFor(record), program, s_startTimeout);
            if (ServiceManager.IsStopping())
                Guard(registry, Recover, ServiceManager.StopsOthers, log);
            return OutcomeKind.Done;
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, "cannot look after devices");
            log.Error(refusal.Message);
            return refusal.Kind;
        }
    }

    /// <param name="registry">where the devices are</param>
    /// <param name="recover">starts a server for one; throws if it cannot</param>
    /// <param name="othersStop">whether there is still somebody who may unmount something</param>
    /// <param name="log">told what is done</param>
    internal static void Guard(DeviceRegistry registry, Action<DeviceRecord> recover, Func<bool> othersStop, ILog log)
    {
        var started = Stopwatch.GetTimestamp();
        var alone = 0;
        while (alone < LooksWithoutOthers && Stopwatch.GetElapsedTime(started) < s_patience)
        {
            var devices = registry.List();
            if (!devices.Any(entry => KernelNode.TryParse(entry.Record.DevicePath) is not null))
                return;
            foreach (var lost in devices.Where(entry => registry.IsLost(entry) && !entry.IsRecovering))
                Save(registry, lost, recover, log);
            Thread.Sleep(s_lookAgain);
            alone = othersStop() ? 0 : alone + 1;
        }
    }

    private static void Save(DeviceRegistry registry, DeviceEntry lost, Action<DeviceRecord> recover, ILog log)
    {
        var name = lost.Record.Name;
        try
        {
            log.Warning($"the machine is going down and nobody serves {lost.Record.DevicePath}: recovering {name}");
            recover(lost.Record);
        }
        catch (OutcomeException error)
        {
            log.Error($"{error.Message}: its requests fail from now on");
            _ = DeadDevice.Detach(registry, lost, force: true, s_forcedTimeout);
        }
    }
}
