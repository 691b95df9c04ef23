using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Server;

/// <summary>A program that server processes are started from: this one, or the one that a running server was started from.</summary>
/// <param name="Path">its file</param>
/// <param name="Arguments">what to put before the verb where the program is not one file (a JIT host)</param>
internal sealed record ServerProgram(string Path, IReadOnlyList<string> Arguments)
{
    /// <summary>Where our ends are put, out of the way of the child's descriptors.</summary>
    private const int FirstFreeFd = InheritedDescriptors.First + UnixSocket.MaxDescriptors + 1;

    /// <summary>Whether it may tell how far its work is, before it tells that it is ready.</summary>
    public bool TellsProgress { get; init; }

    /// <summary>Its standard error leads nowhere: ours is not ours to lend. Else it has ours until it is ready.</summary>
    public bool IsSilent { get; init; }

    /// <summary>The program that runs. Not the path that it was started by: that file may have been replaced since.</summary>
    public static ServerProgram Self(IReadOnlyList<string> arguments) => new("/proc/self/exe", arguments);

    /// <summary>The key that goes with the options, which then say so.</summary>
    private static int[] KeyFor(AttachOptions options)
    {
        if (options.HeldKey is null)
            return [];
        var fd = KeyHandOver.Send(options.HeldKey);
        return fd >= 0 ? [High(fd)]
            : throw new OutcomeException(OutcomeKind.Failed, "cannot start a server process", $"cannot pass its key: {Errno.Text(fd)}");
    }

    /// <summary>Spawns a process that leaves our session, with options on its descriptor 3 and our descriptor as its 4.</summary>
    /// <param name="verb">the hidden verb and its arguments</param>
    /// <param name="options">what it shall serve</param>
    /// <param name="readyFd">where it tells when clients can connect; negative: nobody listens</param>
    /// <param name="inherited">ours that become its <see cref="InheritedDescriptors.First"/> and so on; they stay open here</param>
    /// <returns>the process, or a negative errno</returns>
    internal int Start(IReadOnlyList<string> verb, AttachOptions options, int readyFd, IReadOnlyList<int> inherited)
    {
        // Not a pipe: to write to one whose reader died would raise a signal.
        var result = Sockets.Pair(out var optionsRead, out var optionsWrite);
        if (result < 0)
            return result;
        var devNull = High(Fcntl.Open("/dev/null", O_RDWR | O_CLOEXEC, 0));
        var standardError = StandardError(devNull);
        var optionsHigh = High(optionsRead);
        var readyHigh = readyFd < 0 ? devNull : Fcntl.Control(readyFd, F_DUPFD_CLOEXEC, FirstFreeFd);
        int[] inheritedHigh = [.. inherited.Select(fd => Fcntl.Control(fd, F_DUPFD_CLOEXEC, FirstFreeFd)), .. KeyFor(options)];
        var pid = Spawn.Start(new Spawn.Child
        {
            Path = Path,
            Arguments = ["qcow2blk", .. Arguments, .. verb],
            Environment = [.. ServerEnvironment(), .. TellsProgress ? (string[])[ReadyLine.ProgressVariable + "=1"] : []],
            Descriptors = [devNull, devNull, standardError, optionsHigh, readyHigh, .. inheritedHigh],
            NewSession = true,
        });
        foreach (var fd in inheritedHigh)
            _ = Unistd.Close(fd);
        _ = Unistd.Close(devNull);
        _ = Unistd.Close(optionsHigh);
        if (readyHigh != devNull)
            _ = Unistd.Close(readyHigh);
        // Only once there is a reader: a pipe holds a page or more, options may have more.
        if (pid > 0)
            _ = UnixSocket.SendAll(optionsWrite, AttachOptionsJson.Write(options with { KeyIsHeld = options.HeldKey is not null }));
        _ = Unistd.Close(optionsWrite);
        return pid;
    }

    /// <summary>Spawns a process that leaves our session and has nothing of ours but standard error.</summary>
    /// <returns>the process, or a negative errno</returns>
    internal int Run(IReadOnlyList<string> arguments)
    {
        var devNull = High(Fcntl.Open("/dev/null", O_RDWR | O_CLOEXEC, 0));
        var pid = Spawn.Start(new Spawn.Child
        {
            Path = Path,
            Arguments = ["qcow2blk", .. Arguments, .. arguments],
            Environment = InheritedEnvironment(),
            Descriptors = [devNull, devNull, StandardError(devNull)],
            NewSession = true,
        });
        _ = Unistd.Close(devNull);
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

    /// <summary>What names the runtime directory as we see it: a session may begin or end meanwhile, and servers leave the working
    /// directory.</summary>
    internal static List<string> ServerEnvironment()
    {
        var environment = InheritedEnvironment();
        environment.RemoveAll(variable => variable.StartsWith(RuntimeDirectory.Variable + "=", StringComparison.Ordinal));
        environment.Add($"{RuntimeDirectory.Variable}={RuntimeDirectory.Locate().Path}");
        return environment;
    }

    private int StandardError(int devNull) => !IsSilent && Fcntl.Control(2, F_SETFD, 0) == 0 ? 2 : devNull;

    private static int High(int fd)
    {
        var high = Fcntl.Control(fd, F_DUPFD_CLOEXEC, FirstFreeFd);
        _ = Unistd.Close(fd);
        return high;
    }
}
