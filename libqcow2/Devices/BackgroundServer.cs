using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Text.Json;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices;

/// <summary>
/// A device served by a process of its own. The starter spawns this very program with the verb <see cref="Verb"/>,
/// options on descriptor 3; the server tells on descriptor 4 when clients can connect, or why they never will.
/// </summary>
public static class BackgroundServer
{
    /// <summary>The hidden verb.</summary>
    public const string Verb = "serve";

    private const int OptionsFd = 3;
    private const int ReadyFd = 4;

    /// <summary>Options are a few paths; the pipe takes them in one write.</summary>
    private const int MaxOptionsBytes = 256 << 10;

    /// <summary>Where our ends are put, out of the way of the child's descriptors.</summary>
    private const int FirstFreeFd = 10;

    /// <summary>Starts a server and waits until clients can connect.</summary>
    /// <param name="options">checked</param>
    /// <param name="programArguments">what to put before the verb where the program is not one file (a JIT host)</param>
    /// <exception cref="DeviceException">what the server said, or how it died</exception>
    public static DeviceRecord Start(AttachOptions options, IReadOnlyList<string> programArguments)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(programArguments);
        Pipe(out int optionsRead, out int optionsWrite);
        Pipe(out int readyRead, out int readyWrite);
        int pid = SpawnSelf(options, programArguments, optionsRead, readyWrite);
        _ = Unistd.Close(optionsRead);
        _ = Unistd.Close(readyWrite);
        if (pid > 0)
            _ = Unistd.WriteAll(optionsWrite, AttachOptionsJson.Write(options));
        _ = Unistd.Close(optionsWrite);
        if (pid < 0)
        {
            _ = Unistd.Close(readyRead);
            throw new DeviceException(ExitStatus.Failed, "cannot start a server process", Errno.Text(pid));
        }
        var reader = new LineReader(readyRead, ReadyLine.MaxBytes);
        LineReader.Outcome outcome = reader.Next(-1, out byte[] line);
        _ = Unistd.Close(readyRead);
        return outcome == LineReader.Outcome.Line ? Answer(line, pid) : throw Died(options, pid);
    }

    /// <summary>The server's side: reads the options, serves, ends with the device.</summary>
    /// <returns>the exit status of the process</returns>
    /// <param name="factory">opens the image</param>
    /// <param name="watchSignals">arranges that SIGTERM calls the given action, until disposed</param>
    public static ExitStatus Serve(IDeviceFactory factory, Func<Action, IDisposable> watchSignals)
    {
        ArgumentNullException.ThrowIfNull(factory);
        ArgumentNullException.ThrowIfNull(watchSignals);
        Signals.NameThread("qcow2blk");
        _ = Fcntl.Control(ReadyFd, Fcntl.F_SETFD, Fcntl.FD_CLOEXEC);
        SwitchableLog log;
        DeviceServer server;
        string what = "cannot attach";
        var end = new EndRequest();
        using IDisposable signals = watchSignals(end.Raise);
        try
        {
            AttachOptions options = ReadOptions();
            what = $"cannot attach {options.Image}";
            log = new SwitchableLog(new StderrLog(options.LogLevel));
            server = DeviceServer.Start(options, factory, new DeviceRegistry(RuntimeDirectory.Locate()), log);
        }
        catch (Exception error)
        {
            DeviceException refusal = Refusals.From(error, what);
            _ = Unistd.WriteAll(ReadyFd, new ReadyLine(null, refusal).ToLine());
            return refusal.Status;
        }
        end.PassTo(server.RequestEnd);
        LeaveTerminal(log, server.Record);
        int told = Unistd.WriteAll(ReadyFd, new ReadyLine(server.Record, null).ToLine());
        _ = Unistd.Close(ReadyFd);
        // Nobody learnt the address: the starter was killed. A server that nobody knows of is no use.
        if (told == 0)
            server.WaitForEnd();
        DeviceResult result = server.Finish();
        log.Info($"detached {server.Record.Name}");
        end.PassTo(null);
        server.Dispose();
        return result.Status;
    }

    private static void LeaveTerminal(SwitchableLog log, DeviceRecord record)
    {
        log.SwitchTo(new SyslogLog(record.Options.LogLevel, record.Name));
        _ = Unistd.Dup2(0, 2); // Descriptor 0 is /dev/null.
        _ = Unistd.ChangeDirectory("/");
    }

    private static AttachOptions ReadOptions()
    {
        using var json = new MemoryStream();
        Span<byte> piece = stackalloc byte[4096];
        while (true)
        {
            int count = Unistd.Read(OptionsFd, piece);
            if (count < 0)
                throw new DeviceException(ExitStatus.Usage, "\"serve\" is not for people", $"no options: {Errno.Text(count)}",
                    "use \"qcow2blk attach\"");
            if (count == 0)
                break;
            json.Write(piece[..count]);
            if (json.Length > MaxOptionsBytes)
                throw new DeviceException(ExitStatus.Usage, "cannot read options", $"more than {MaxOptionsBytes} bytes");
        }
        _ = Unistd.Close(OptionsFd);
        return AttachOptionsJson.Read(json.GetBuffer().AsSpan(0, (int)json.Length));
    }

    private static int SpawnSelf(AttachOptions options, IReadOnlyList<string> programArguments, int optionsFd, int readyFd)
    {
        int devNull = High(Fcntl.Open("/dev/null", Fcntl.O_RDWR | Fcntl.O_CLOEXEC, 0));
        int standardError = Fcntl.Control(2, Fcntl.F_SETFD, 0) == 0 ? 2 : devNull;
        int optionsHigh = Fcntl.Control(optionsFd, Fcntl.F_DUPFD_CLOEXEC, FirstFreeFd);
        int readyHigh = Fcntl.Control(readyFd, Fcntl.F_DUPFD_CLOEXEC, FirstFreeFd);
        int pid = Spawn.Start(new Spawn.Child
        {
            // Not the path that we were started by: that file may have been replaced since.
            Path = "/proc/self/exe",
            Arguments = ["qcow2blk", .. programArguments, Verb, options.Image],
            Environment = InheritedEnvironment(),
            Descriptors = [devNull, devNull, standardError, optionsHigh, readyHigh],
            NewSession = true,
        });
        _ = Unistd.Close(devNull);
        _ = Unistd.Close(optionsHigh);
        _ = Unistd.Close(readyHigh);
        return pid;
    }

    /// <summary>Our environment as NAME=VALUE, without the variables of socket activation.</summary>
    internal static List<string> InheritedEnvironment()
    {
        var environment = new List<string>();
        foreach (DictionaryEntry variable in Environment.GetEnvironmentVariables())
        {
            if (variable.Key is not ("LISTEN_FDS" or "LISTEN_PID" or "LISTEN_FDNAMES"))
                environment.Add($"{variable.Key}={variable.Value}");
        }
        return environment;
    }

    private static DeviceRecord Answer(byte[] line, int pid)
    {
        ReadyLine ready;
        try
        {
            ready = ReadyLine.Parse(line);
        }
        catch (JsonException error)
        {
            throw new DeviceException(ExitStatus.Failed, "cannot attach", $"the server said nonsense: {error.Message}");
        }
        if (ready.Error is null)
            return ready.Record!;
        _ = Spawn.Wait(pid);
        throw ready.Error;
    }

    private static DeviceException Died(AttachOptions options, int pid)
    {
        int status = Spawn.Wait(pid);
        string how = status > 128 ? $"was killed by signal {status - 128}" : $"ended with status {status}";
        return new DeviceException(ExitStatus.Failed, $"cannot attach {options.Image}", $"the server {how} before it was ready",
            "see the system log");
    }

    private static void Pipe(out int readEnd, out int writeEnd)
    {
        int result = Unistd.Pipe(out readEnd, out writeEnd);
        if (result < 0)
            throw new DeviceException(ExitStatus.Failed, "cannot make a pipe", Errno.Text(result));
    }

    private static int High(int fd)
    {
        int high = Fcntl.Control(fd, Fcntl.F_DUPFD_CLOEXEC, FirstFreeFd);
        _ = Unistd.Close(fd);
        return high;
    }
}
