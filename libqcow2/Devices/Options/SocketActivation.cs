using System;
using System.Globalization;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Options;

/// <summary>systemd's socket activation (sd_listen_fds(3)): a listening socket that our starter opened.</summary>
internal static class SocketActivation
{
    /// <summary>SD_LISTEN_FDS_START.</summary>
    private const int FirstFd = 3;

    /// <summary>Takes the socket if one was passed to this process; the variables are gone afterwards.</summary>
    /// <exception cref="OutcomeException">usage: more than one socket, or variables that make no sense</exception>
    public static int? Take()
    {
        string? pid = Environment.GetEnvironmentVariable("LISTEN_PID"), count = Environment.GetEnvironmentVariable("LISTEN_FDS");
        if (pid is null || count is null)
            return null;
        foreach (var variable in (ReadOnlySpan<string>)["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"])
            Environment.SetEnvironmentVariable(variable, null);
        // Meant for another process, from which we inherited the variables by accident.
        if (pid != Environment.ProcessId.ToString(CultureInfo.InvariantCulture))
            return null;
        if (count != "1")
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"cannot serve with LISTEN_FDS={count}", "a device has one address",
                "pass exactly one listening socket");
        }

        if (Fcntl.Control(FirstFd, F_SETFD, FD_CLOEXEC) != 0)
            throw new OutcomeException(OutcomeKind.Invalid, "cannot serve with LISTEN_FDS=1", $"descriptor {FirstFd} is not open");
        return FirstFd;
    }
}
