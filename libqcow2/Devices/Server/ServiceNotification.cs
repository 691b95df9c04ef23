using System;
using System.Globalization;
using System.Text;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Server;

/// <summary>Tells a service manager how far we are (sd_notify(3)): for units of Type=notify.</summary>
internal static class ServiceNotification
{
    private const string Variable = "NOTIFY_SOCKET";

    /// <summary>Where the service manager listens; null if nobody does.</summary>
    private static string? s_manager;

    /// <summary>Whether a service manager hears what is told here, and waits as long as it is asked to.</summary>
    public static bool IsHeard => s_manager is not null;

    /// <summary>Says that the disk can be used, if a service manager asked for that. The variable is gone afterwards: no child inherits
    /// it.</summary>
    /// <param name="status">one line for people</param>
    /// <param name="log">told of a service manager that cannot be reached</param>
    public static void Ready(string status, ILog log)
    {
        ArgumentNullException.ThrowIfNull(status);
        ArgumentNullException.ThrowIfNull(log);
        if (Environment.GetEnvironmentVariable(Variable) is not { Length: > 0 } path)
            return;
        Environment.SetEnvironmentVariable(Variable, null);
        s_manager = path;
        var error = Send($"READY=1\nSTATUS={OneLine(status)}\n");
        if (error < 0)
            log.Warning($"cannot tell the service manager at {path} that {status}: {Errno.Text(error)}");
    }

    /// <summary>Says that we are ending, and what that waits for.</summary>
    public static void Stopping(string status) => _ = Send($"STOPPING=1\nSTATUS={OneLine(status)}\n");

    /// <summary>Asks not to be killed for so long from now: there is progress.</summary>
    public static void StillEnding(TimeSpan time) =>
        _ = Send(string.Create(CultureInfo.InvariantCulture, $"EXTEND_TIMEOUT_USEC={time.TotalMicroseconds:0}\n"));

    private static int Send(string message) => s_manager is null ? 0 : UnixSocket.SendDatagram(s_manager, Encoding.UTF8.GetBytes(message));

    private static string OneLine(string text) => text.ReplaceLineEndings(" ");
}
