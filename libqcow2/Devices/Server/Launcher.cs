using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// Starts the server of a device for a program of another kind, by a process between them that ends when the server is ready: a
/// program that waits for its children must not find ours among them later.
/// </summary>
internal static class Launcher
{
    /// <summary>The hidden verb.</summary>
    public const string Verb = "launch";

    /// <summary>Starts a server and waits until clients can connect.</summary>
    /// <param name="options">checked</param>
    /// <param name="program">the qcow2blk command</param>
    /// <param name="registry">where it registers</param>
    /// <exception cref="OutcomeException">what the server said, or how it died: then it has left nothing</exception>
    public static DeviceRecord Start(AttachOptions options, ServerProgram program, DeviceRegistry registry) =>
        BackgroundServer.Start(options, program, Timeout.InfiniteTimeSpan, inherited: null, registry, Verb);

    /// <summary>The whole life of the process between: options come on descriptor 3, how it went is told on descriptor 4.</summary>
    /// <param name="programArguments">what to put before the verb where the program is not one file (a JIT host)</param>
    public static ServerEnd Main(IReadOnlyList<string> programArguments)
    {
        ArgumentNullException.ThrowIfNull(programArguments);
        _ = Fcntl.Control(StartPipe.ReadyFd, F_SETFD, FD_CLOEXEC);
        AttachOptions? options = null;
        try
        {
            options = StartPipe.ReadOptions();
            var record = BackgroundServer.Start(options, ServerProgram.Self(programArguments), Timeout.InfiniteTimeSpan);
            if (Unistd.WriteAll(StartPipe.ReadyFd, new ReadyLine(record, null).ToLine()) == 0)
                return ServerEnd.Done;
            Withdraw(record);
        }
        catch (Exception error)
        {
            BackgroundServer.Refuse(error, options);
        }

        return ServerEnd.Failed;
    }

    /// <summary>Whoever wanted the device has died and will never learn of it.</summary>
    private static void Withdraw(DeviceRecord record)
    {
        var registry = new DeviceRegistry(RuntimeDirectory.Locate());
        if (registry.Find(record.Name) is { } entry && entry.Record.Started == record.Started)
            _ = DetachCommand.Run(registry, entry, new ControlRequest(ControlVerb.Detach, ControlRequest.DefaultTimeout, false, false));
    }
}
