using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Server;

/// <summary>The shell command of <c>attach --run</c>.</summary>
internal static class CaptiveCommand
{
    private const int CannotRun = 126;

    /// <summary>
    /// Runs the command with the device's address in variables of its environment, where the shell expands them as
    /// they are: no quoting is needed to keep a strange path whole beyond <c>"$uri"</c>.
    /// </summary>
    /// <param name="command">for /bin/sh -c</param>
    /// <param name="options">how the device is attached</param>
    /// <param name="record">where it is served</param>
    /// <param name="end">when raised, the command gets SIGTERM</param>
    /// <returns>its exit status, 128 + signal if one ended it</returns>
    public static int Run(string command, AttachOptions options, DeviceRecord record, EndRequest end)
    {
        ArgumentNullException.ThrowIfNull(end);
        var pid = Spawn.Start(new Spawn.Child
        {
            Path = "/bin/sh",
            Arguments = ["sh", "-c", command],
            Environment = Variables(options, record),
            Descriptors = [0, 1, 2],
        });
        if (pid < 0)
            throw new OutcomeException(OutcomeKind.Failed, "cannot run /bin/sh", Errno.Text(pid));
        // The number stays the child's until we waited for it; the lock keeps a late signal from a stranger.
        var running = new Lock();
        var ended = false;
        end.PassTo(() =>
        {
            lock (running)
            {
                if (!ended)
                    _ = Spawn.Kill(pid, SIGTERM);
            }
        });
        var status = WaitFor(pid, running, ref ended);
        end.PassTo(null);
        return status >= 0 ? status : CannotRun;
    }

    private static int WaitFor(int pid, Lock running, ref bool ended)
    {
        var process = Spawn.OpenProcess(pid);
        if (process >= 0)
        {
            UnixSocket.WaitReadable(process, -1);
            _ = Unistd.Close(process);
        }

        lock (running)
        {
            ended = process >= 0;
            return Spawn.Wait(pid);
        }
    }

    /// <summary>Our environment and nbdkit's names: uri, exportname, unixsocket, port, tls; and device, name, image.</summary>
    internal static List<string> Variables(AttachOptions options, DeviceRecord record)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(record);
        var environment = ServerProgram.InheritedEnvironment();
        environment.RemoveAll(IsOurs);
        environment.Add($"uri={record.Uri}");
        environment.Add($"device={record.DevicePath ?? record.Uri}");
        environment.Add($"name={record.Name}");
        environment.Add($"image={record.Image}");
        environment.Add($"unixsocket={options.SocketPath}");
        environment.Add("exportname=");
        environment.Add("tls=");
        environment.Add($"port={Port(options, record)}");
        return environment;
    }

    private static string Port(AttachOptions options, DeviceRecord record)
    {
        if (options.ListenHost is null || record.Uri is null)
            return "";
        // The kernel may have chosen it: the URI knows.
        return new Uri(record.Uri).Port is var port and > 0 ? $"{port}" : $"{AttachOptions.DefaultPort}";
    }

    private static bool IsOurs(string variable)
    {
        foreach (var name in (ReadOnlySpan<string>)["uri=", "device=", "name=", "image=", "unixsocket=", "exportname=", "tls=", "port="])
        {
            if (variable.StartsWith(name, StringComparison.Ordinal))
                return true;
        }

        return false;
    }
}
