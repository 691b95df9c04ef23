using System;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Cli;

/// <summary>Serving in the process of the command: <c>--foreground</c>, <c>--run</c> and socket activation.</summary>
internal static class InProcessServer
{
    internal static ExitCode Serve(AttachOptions options, IDeviceFactory factory, Action<DeviceRecord> announce)
    {
        var end = new EndRequest();
        using var signals = EndSignals.WatchInForeground(end.Raise);
        var name = options.Name ?? DeviceName.FromImage(options.Image);
        var log = new SwitchableLog(JournalLog.ForForeground(options.LogLevel, new LogSubject(name, options.Image, options.RecoverDevice)));
        using var server = Start(options, factory, log);
        log.SwitchTo(JournalLog.ForForeground(options.LogLevel, server.Record.LogSubject));
        server.TellRecovery();
        end.PassTo(server.RequestEnd);
        ServiceNotification.Ready($"serving {options.Image} as {server.Record.Uri ?? server.Record.DevicePath}", log);
        var commandStatus = 0;
        if (options.RunCommand is { } command)
        {
            commandStatus = CaptiveCommand.Run(command, options, server.Record, end);
        }
        else
        {
            // The standard output of an activated server belongs to the client that started it.
            if (options.ListenFd is null)
                announce(server.Record);
            using var parent = options.ListenFd is null ? null : ParentWatch.Start(end.Raise);
            server.WaitForEnd();
        }

        var result = server.Finish();
        end.PassTo(null);
        if (!result.Succeeded)
            Output.Error(result.What ?? "cannot detach", result.Why ?? "unknown", result.Hint);
        return commandStatus != 0 ? (ExitCode)commandStatus : ExitCodes.Of(result.Kind);
    }

    private static DeviceServer Start(AttachOptions options, IDeviceFactory factory, ILog log)
    {
        using var bar = ProgressBar.For(options.Image);
        var progress = bar is null ? null : new ProgressLog(log, bar.Show);
        try
        {
            return DeviceServer.Start(options, factory, Targets.Registry(), progress ?? log);
        }
        catch (Exception error)
        {
            throw Refusals.From(error, $"cannot attach {options.Image}");
        }
        finally
        {
            progress?.End();
        }
    }
}
