using System;
using System.Text;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Server;

/// <summary>Tells a service manager how far we are (sd_notify(3)): for units of Type=notify.</summary>
internal static class ServiceNotification
{
    private const string Variable = "NOTIFY_SOCKET";

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
        var error = UnixSocket.SendDatagram(path, Encoding.UTF8.GetBytes($"READY=1\nSTATUS={status.ReplaceLineEndings(" ")}\n"));
        if (error < 0)
            log.Warning($"cannot tell the service manager at {path} that {status}: {Errno.Text(error)}");
    }
}
