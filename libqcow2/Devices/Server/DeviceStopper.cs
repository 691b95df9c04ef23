using System;
using System.Globalization;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// Stops a ublk device that no other server could take over, from a process of its own. The kernel first writes down what
/// it has cached, and needs answers of the server for that. Were the command the server's own, a server that ends before
/// could never end: it would wait for the command, and that for it.
/// </summary>
/// <param name="program">what the process is started from</param>
internal sealed class DeviceStopper(ServerProgram program)
{
    /// <summary>The hidden verb: stop-device N.</summary>
    public const string Verb = "stop-device";

    /// <summary>The command ends when the device does, and that when its server does, at the latest.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromDays(1);

    private int _pid;

    /// <summary>Stops the device, or goes on waiting for that.</summary>
    /// <returns>0 or a negative errno; -ETIMEDOUT if it takes longer (it goes on)</returns>
    public int Stop(int id, TimeSpan timeout)
    {
        if (_pid == 0)
            _pid = program.Run([Verb, id.ToString(CultureInfo.InvariantCulture)]);
        if (_pid < 0)
        {
            var error = _pid;
            _pid = 0;
            return error;
        }

        var process = Spawn.OpenProcess(_pid);
        if (process < 0)
            return process;
        var ended = UnixSocket.WaitReadable(process, (int)timeout.TotalMilliseconds);
        _ = Unistd.Close(process);
        if (!ended)
            return -Errno.ETIMEDOUT;
        var status = Spawn.Wait(_pid);
        _pid = 0;
        return status == 0 ? 0 : -Errno.EIO;
    }

    /// <summary>The whole life of that process.</summary>
    /// <returns>whether the device has stopped</returns>
    public static OutcomeKind Main(string[] args)
    {
        if (args.Length != 2 || !int.TryParse(args[1], NumberStyles.None, CultureInfo.InvariantCulture, out var id))
            return OutcomeKind.Invalid;
        try
        {
            Signals.NameThread("qcow2blk-stop");
            var server = Unistd.ParentProcess();
            using var control = UblkControl.Open();
            var error = control.StopDevice(id, s_patience);
            // Nobody else removes what is left of it.
            if (Unistd.ParentProcess() != server)
                _ = control.DeleteDevice(id, async: true);
            return error is 0 or -Errno.ENODEV ? OutcomeKind.Done : OutcomeKind.Failed;
        }
        catch (Exception error)
        {
            new StderrLog(LogLevel.Error).Error(Refusals.From(error, $"cannot stop /dev/ublkb{id}").Message);
            return OutcomeKind.Failed;
        }
    }
}
