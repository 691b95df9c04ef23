using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// The process between a block device's starter and its server, the worker: it opens no image and runs no loop. It holds
/// the mount namespace, waits for the worker, and starts another one if that dies, so that the disk's users see a pause.
/// If the supervisor dies, the worker goes on.
/// </summary>
internal sealed class Supervisor : IDisposable
{
    /// <summary>The hidden verb.</summary>
    public const string Verb = "supervise";

    private readonly DeviceRegistry _registry;
    private readonly Func<AttachOptions, int, int> _spawn;
    private readonly ILog _log;
    private readonly RestartPolicy _policy = new();
    private readonly ManualResetEventSlim _endWanted = new();
    private readonly Lock _running = new();
    private int _worker = -1;

    /// <param name="registry">where workers register their devices</param>
    /// <param name="spawn">starts a worker with these options, the descriptor on which it tells that it is ready (negative: none); its
    /// process, or a negative errno</param>
    /// <param name="log">for what happens when nobody waits</param>
    public Supervisor(DeviceRegistry registry, Func<AttachOptions, int, int> spawn, ILog log)
    {
        _registry = registry;
        _spawn = spawn;
        _log = log;
    }

    /// <summary>The whole life of the process.</summary>
    /// <param name="programArguments">what to put before the verb where the program is not one file (a JIT host)</param>
    /// <param name="watchSignals">arranges that SIGTERM calls the given action, until disposed, and nothing else ends us</param>
    /// <returns>the exit status of the process</returns>
    public static int Main(IReadOnlyList<string> programArguments, Func<Action, IDisposable> watchSignals)
    {
        ArgumentNullException.ThrowIfNull(programArguments);
        ArgumentNullException.ThrowIfNull(watchSignals);
        Signals.NameThread("qcow2blk-super");
        _ = Fcntl.Control(StartPipe.ReadyFd, F_SETFD, FD_CLOEXEC);
        try
        {
            var options = StartPipe.ReadOptions();
            var log = new SwitchableLog(new StderrLog(options.LogLevel));
            var program = ServerProgram.Self(programArguments);
            var self = Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
            using var supervisor = new Supervisor(new DeviceRegistry(RuntimeDirectory.Locate()),
                (worker, readyFd) => StartWorker(program, self, worker with { HeldKey = options.HeldKey }, readyFd), log);
            using var signals = watchSignals(supervisor.End);
            // On this thread: what it spawns inherits the namespace.
            MountNamespace.Leave(options.RecoverDevice, log);
            OutOfMemory.Spare(log);
            return supervisor.Run(options, StartPipe.ReadyFd, () => LeaveStarter(log, options));
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, "cannot start a server");
            _ = Unistd.WriteAll(StartPipe.ReadyFd, new ReadyLine(null, refusal).ToLine());
            return (int)ServerEnd.Failed;
        }
    }

    /// <summary>What the previous server left is the first worker's alone: a socket that we kept open would outlive that.</summary>
    private static int StartWorker(ServerProgram program, string self, AttachOptions options, int readyFd)
    {
        var inherited = InheritedDescriptors.Of(options);
        var pid = program.Start([BackgroundServer.Verb, options.Image, self], options, readyFd, inherited);
        foreach (var fd in inherited)
            _ = Unistd.Close(fd);
        return pid;
    }

    public void Dispose() => _endWanted.Dispose();

    /// <summary>SIGTERM is meant for the worker; no other one follows it.</summary>
    public void End()
    {
        _endWanted.Set();
        lock (_running)
        {
            if (_worker > 0)
                _ = Spawn.Kill(_worker, SIGTERM);
        }
    }

    /// <summary>Starts a worker and others after it, until one ends as planned or nothing helps.</summary>
    /// <param name="options">what to serve</param>
    /// <param name="readyFd">where the first worker tells that it is ready</param>
    /// <param name="started">called when the first worker was started</param>
    /// <returns>the exit status: that of the first worker if it did not come as far as a device</returns>
    public int Run(AttachOptions options, int readyFd, Action started)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(started);
        var pid = _spawn(options, readyFd);
        if (pid < 0)
            throw new OutcomeException(OutcomeKind.Failed, "cannot start a server process", Errno.Text(pid));
        started();
        string? name = null;
        while (true)
        {
            var status = WaitFor(pid);
            name ??= _registry.NameOfServer(pid);
            if (status == (int)ServerEnd.HandedOver)
                return 0;
            if (_endWanted.IsSet || name is null || _registry.FindLost(name) is not { } lost)
                return status;
            if (lost.Suspended)
            {
                _log.Write(LogLevel.Error, LogEvent.Abandoned, $"the server of {name} {ProcessEnd.Describe(status)} while it was suspended:"
                    + $" requests of {lost.DevicePath} wait until \"qcow2blk resume {name}\"");
                return status;
            }

            if (Restart(lost, ProcessEnd.Describe(status)) is not { } next)
                return status;
            pid = next;
        }
    }

    /// <summary>Workers that do not even start count as dead ones.</summary>
    /// <returns>the new worker; null to give up</returns>
    private int? Restart(DeviceRecord lost, string how)
    {
        while (_policy.Next(Stopwatch.GetElapsedTime(0)) is { } delay)
        {
            _log.Write(LogLevel.Error, LogEvent.ServerDied, $"the server of {lost.Name} {how}: recovering {lost.DevicePath}");
            if (_endWanted.Wait(delay))
                return null;
            var pid = _spawn(Recovery.OptionsFor(lost), -1);
            if (pid > 0)
                return pid;
            how = $"cannot be started: {Errno.Text(pid)}";
        }

        _log.Write(LogLevel.Error, LogEvent.Abandoned,
            $"gave up on {lost.Name} after {RestartPolicy.MaxRestarts} servers in {RestartPolicy.Window.TotalSeconds:0} s: requests of"
                + $" {lost.DevicePath} wait"
            + $" until \"qcow2blk attach --recover {lost.Name}\", or end with \"qcow2blk detach --force {lost.Name}\"");
        return null;
    }

    private int WaitFor(int pid)
    {
        lock (_running)
            _worker = pid;
        // SIGTERM that came before there was a worker to pass it to.
        if (_endWanted.IsSet)
            End();
        var process = Spawn.OpenProcess(pid);
        if (process >= 0)
        {
            UnixSocket.WaitReadable(process, -1);
            _ = Unistd.Close(process);
        }
        // The number stays the worker's until we waited for it; the lock keeps a late signal from a stranger.
        lock (_running)
        {
            _worker = -1;
            return Spawn.Wait(pid);
        }
    }

    private static void LeaveStarter(SwitchableLog log, AttachOptions options)
    {
        log.SwitchTo(JournalLog.ForBackground(options.LogLevel,
            new LogSubject(options.Name ?? DeviceName.FromImage(options.Image), options.Image, options.RecoverDevice)));
        _ = Unistd.Close(StartPipe.ReadyFd);
        StartPipe.LeaveTerminal();
    }
}
