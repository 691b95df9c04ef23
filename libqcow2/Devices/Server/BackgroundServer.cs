using System;
using System.Collections.Generic;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// A device served by a process of its own. The starter spawns this very program with the verb <see cref="Verb"/>,
/// options on descriptor 3; the server tells on descriptor 4 when clients can connect, or why they never will.
/// </summary>
internal static class BackgroundServer
{
    /// <summary>The hidden verb.</summary>
    public const string Verb = "serve";

    /// <summary>Between the end of its ends of pipes and the end of a process there is nothing to wait for.</summary>
    private const int EndMilliseconds = 5_000;

    /// <summary>Starts a server and waits until clients can connect.</summary>
    /// <param name="options">checked</param>
    /// <param name="program">what to start</param>
    /// <param name="timeout">how long that may take; what was started is killed then</param>
    /// <param name="inherited">descriptors that the previous server left to it; they stay the caller's</param>
    /// <param name="registry">where it registers; null for where this user's devices are</param>
    /// <param name="verb">what the program is started with, if not as a server: it starts one, and ends when that is ready</param>
    /// <param name="progress">hears what the server does before it is ready, and the fraction that is done of it</param>
    /// <exception cref="OutcomeException">what the server said, or how it died: then it has left nothing</exception>
    /// <remarks>
    /// Only a block device has a supervisor. NBD clients see the end of a server's connection, however soon another one
    /// listens: to start it again is their service manager's decision.
    /// </remarks>
    public static DeviceRecord Start(AttachOptions options, ServerProgram program, TimeSpan timeout, IReadOnlyList<int>? inherited = null,
        DeviceRegistry? registry = null, string? verb = null, Action<string, double>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(program);
        var given = options.HeldKey;
        options = KeySources.Collect(options);
        using var collected = options.HeldKey == given ? null : options.HeldKey;
        var result = Unistd.Pipe(out var readyRead, out var readyWrite);
        if (result < 0)
            throw new OutcomeException(OutcomeKind.Failed, "cannot make a pipe", Errno.Text(result));
        verb ??= options.IsBlockDevice ? Supervisor.Verb : Verb;
        program = program with { TellsProgress = progress is not null };
        var pid = program.Start([verb, options.Image], options, readyWrite, inherited ?? []);
        _ = Unistd.Close(readyWrite);
        if (pid < 0)
        {
            _ = Unistd.Close(readyRead);
            throw new OutcomeException(OutcomeKind.Failed, "cannot start a server process", Errno.Text(pid));
        }

        var reader = new LineReader(readyRead, ReadyLine.MaxBytes);
        var wait = timeout == Timeout.InfiniteTimeSpan ? -1 : (int)timeout.TotalMilliseconds;
        byte[] line;
        LineReader.Outcome outcome;
        while ((outcome = reader.Next(wait, out line)) == LineReader.Outcome.Line
            && progress is not null && ReadyLine.TryParseProgress(line, out var what, out var fraction))
        {
            progress(what, fraction);
        }

        _ = Unistd.Close(readyRead);
        return outcome switch
        {
            LineReader.Outcome.Line => Answer(line, pid, ends: verb == Launcher.Verb),
            LineReader.Outcome.TimedOut => throw TooSlow(options, pid, timeout, registry ?? Registry),
            _ => throw Died(options, pid, registry ?? Registry),
        };
    }

    /// <summary>The server's side: reads the options, serves, ends with the device.</summary>
    /// <param name="factory">opens the image</param>
    /// <param name="watchSignals">arranges that SIGTERM calls the given action, until disposed</param>
    /// <param name="supervisorPid">who says that it started us to take care of us; null if nobody did</param>
    public static ServerEnd Serve(IDeviceFactory factory, Func<Action, IDisposable> watchSignals, int? supervisorPid)
    {
        ArgumentNullException.ThrowIfNull(factory);
        ArgumentNullException.ThrowIfNull(watchSignals);
        Signals.NameThread("qcow2blk");
        _ = Fcntl.Control(StartPipe.ReadyFd, F_SETFD, FD_CLOEXEC);
        AttachOptions? options = null;
        SwitchableLog log;
        DeviceServer server;
        ProgressLog? progress = null;
        var end = new EndRequest();
        using var signals = watchSignals(end.Raise);
        try
        {
            options = StartPipe.ReadOptions();
            log = new SwitchableLog(new StderrLog(options.LogLevel));
            if (Environment.GetEnvironmentVariable(ReadyLine.ProgressVariable) is not null)
                progress = new ProgressLog(log, TellProgress);
            server = DeviceServer.Start(options, factory, new DeviceRegistry(RuntimeDirectory.Locate()), (ILog?)progress ?? log,
                SupervisorOf(supervisorPid));
        }
        catch (Exception error)
        {
            progress?.End();
            Refuse(error, options);
            return ServerEnd.Failed;
        }

        progress?.End();
        end.PassTo(server.RequestEnd);
        log.SwitchTo(JournalLog.ForBackground(options.LogLevel, server.Record.LogSubject));
        server.TellRecovery();
        StartPipe.LeaveTerminal();
        var told = Unistd.WriteAll(StartPipe.ReadyFd, new ReadyLine(server.Record, null).ToLine());
        _ = Unistd.Close(StartPipe.ReadyFd);
        // Nobody learnt the address: the starter was killed. A server that nobody knows of is no use; a device that was
        // there before is left to the next one.
        if (told == 0)
            server.WaitForEnd();
        else if (options.RecoverDevice is not null)
            server.HandOver(DeviceServer.SignalTimeout);
        var result = server.Finish();
        end.PassTo(null);
        log.Info($"{(server.HandedOver ? "handed over" : "detached")} {server.Record.Name}");
        server.Dispose();
        // Whoever asked for it and is gone takes nothing over: then the supervisor does.
        if (server.HandedOver)
            return server.HandOverUnheard ? ServerEnd.Failed : ServerEnd.HandedOver;
        return result.Succeeded ? ServerEnd.Done : ServerEnd.Failed;
    }

    /// <summary>A starter that does not read now misses some: nothing waits for it.</summary>
    private static void TellProgress(string what, double fraction)
    {
        if (UnixSocket.WaitWritable(StartPipe.ReadyFd, 0))
            _ = Unistd.WriteAll(StartPipe.ReadyFd, ReadyLine.ProgressLine(what, fraction));
    }

    internal static void Refuse(Exception error, AttachOptions? options)
    {
        var refusal = Refusals.From(error, options is null ? "cannot attach" : $"cannot attach {options.Image}");
        _ = Unistd.WriteAll(StartPipe.ReadyFd, new ReadyLine(null, refusal).ToLine());
        // A supervisor does not read that.
        if (options?.RecoverDevice is { } device)
            JournalLog.ForBackground(options.LogLevel, new LogSubject(options.Name!, options.Image, device)).Error(refusal.Message);
    }

    /// <summary>If it died meanwhile we are somebody else's child, and nobody takes care of us.</summary>
    private static ProcessIdentity? SupervisorOf(int? pid) =>
        pid is { } number && Unistd.ParentProcess() == number ? ProcessIdentity.Of(number) : null;

    private static DeviceRecord Answer(byte[] line, int pid, bool ends)
    {
        ReadyLine ready;
        try
        {
            ready = ReadyLine.Parse(line);
        }
        catch (JsonException error)
        {
            throw new OutcomeException(OutcomeKind.Failed, "cannot attach", $"the server's answer is malformed: {error.Message}");
        }

        if (ready.Error is not null || ends)
            _ = Spawn.Wait(pid);
        return ready.Error is null ? ready.Record! : throw ready.Error;
    }

    private static DeviceRegistry Registry => new(RuntimeDirectory.Locate());

    private static OutcomeException Died(AttachOptions options, int pid, DeviceRegistry registry)
    {
        var what = $"cannot attach {options.Image}";
        // A supervisor may go on after its first worker's end: it has a device to recover.
        var process = Spawn.OpenProcess(pid);
        var ended = process < 0 || UnixSocket.WaitReadable(process, EndMilliseconds);
        if (process >= 0)
            _ = Unistd.Close(process);
        if (!ended)
        {
            return new OutcomeException(OutcomeKind.Failed, what, "the server died as it became ready; its supervisor is trying again",
                "\"qcow2blk list\" shows it")
            { IsTriedAgain = true };
        }

        var status = Spawn.Wait(pid);
        registry.RemoveNeverReady();
        return new OutcomeException(OutcomeKind.Failed, what, $"the server {ProcessEnd.Describe(status)} before it was ready",
            ProcessEnd.Hint(status));
    }

    private static OutcomeException TooSlow(AttachOptions options, int pid, TimeSpan timeout, DeviceRegistry registry)
    {
        var started = ProcessIdentity.Of(pid);
        started?.Kill(TimeSpan.FromMilliseconds(EndMilliseconds));
        // A worker that is not in the registry yet ends by itself: it has nobody to tell that it is ready.
        foreach (var entry in registry.List())
        {
            if (entry.Alive && started is not null && entry.Record.Supervisor == started)
                ProcessIdentity.Of(entry.Record.Pid)?.Kill(TimeSpan.FromMilliseconds(EndMilliseconds));
        }

        return new OutcomeException(OutcomeKind.Failed, $"cannot attach {options.Image}",
            $"the server was not ready within {timeout.TotalSeconds:0} s", "see the system log");
    }
}
