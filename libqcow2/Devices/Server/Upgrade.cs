using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Server;

/// <summary>How a server was replaced.</summary>
/// <param name="Record">the device as the new server registered it</param>
/// <param name="Pause">how long the requests of the device may have waited</param>
/// <param name="Failure">why the device is served by its old program again; null if the new one serves it</param>
internal sealed record UpgradeOutcome(DeviceRecord Record, TimeSpan Pause, OutcomeException? Failure);

/// <summary>
/// Replaces a running server by one of another program: the old one finishes and holds requests, closes the image and
/// lets go of the block device; the new one takes it over as after a crash, and the requests go on. If it cannot, the
/// old program is started again.
/// </summary>
internal static class Upgrade
{
    /// <summary>A server that is not ready by then will not be; the old program gets its chance while users are patient.</summary>
    private static readonly TimeSpan s_startTimeout = TimeSpan.FromSeconds(30);

    /// <summary>After its answer a server has only its memory to give back.</summary>
    private static readonly TimeSpan s_endTimeout = TimeSpan.FromSeconds(30);

    /// <param name="registry">where the device is</param>
    /// <param name="entry">the device</param>
    /// <param name="program">what shall serve it</param>
    /// <param name="timeout">how long its requests in flight may take to end</param>
    /// <exception cref="OutcomeException">it cannot be replaced: the old server goes on; or nobody serves the device now: the hint says
    /// what to do</exception>
    public static UpgradeOutcome Run(DeviceRegistry registry, DeviceEntry entry, ServerProgram program, TimeSpan timeout)
    {
        ArgumentNullException.ThrowIfNull(registry);
        ArgumentNullException.ThrowIfNull(entry);
        var record = entry.Record;
        var what = $"cannot upgrade {record.Name}";
        Check(entry, what);
        var oldFile = OpenProgram(record.Pid, what);
        IReadOnlyList<int> left = [];
        try
        {
            var started = Stopwatch.GetTimestamp();
            left = Release(registry, record, what, timeout);
            var options = Recovery.OptionsFor(record) with { InheritedConnections = left.Count / KeptConnection.Descriptors };
            using var key = left.Count % KeptConnection.Descriptors == 0 ? null : KeyHandOver.Receive(left[^1]);
            if (key is not null)
                (options, left) = (options with { HeldKey = key }, [.. left.SkipLast(1)]);
            try
            {
                var upgraded = BackgroundServer.Start(options, program, s_startTimeout, left);
                return new UpgradeOutcome(upgraded, Stopwatch.GetElapsedTime(started), null);
            }
            catch (OutcomeException failure) when (!failure.IsTriedAgain)
            {
                var back = GoBack(options, Old(program, oldFile), left, failure, what);
                return new UpgradeOutcome(back, Stopwatch.GetElapsedTime(started), failure);
            }
        }
        finally
        {
            // Here too: a connection ends for the kernel when nobody has it open any more.
            foreach (var fd in left)
                _ = Unistd.Close(fd);
            _ = Unistd.Close(oldFile);
        }
    }

    private static void Check(DeviceEntry entry, string what)
    {
        var record = entry.Record;
        if (KernelNode.TryParse(record.DevicePath) is null)
        {
            throw new OutcomeException(OutcomeKind.Failed, what, "it is an NBD server: its clients are connected to that process",
                "detach it and attach it again; clients then reconnect");
        }

        if (entry.IsRecovering)
            throw new OutcomeException(OutcomeKind.Busy, what, "its server died and is being started again", "try again in a moment");
        if (!entry.Alive)
        {
            throw new OutcomeException(OutcomeKind.Failed, what, "its server is dead",
                $"\"qcow2blk attach --recover {record.Name}\" starts one of this program");
        }

        if (record.Options.ServesInProcess)
        {
            throw new OutcomeException(OutcomeKind.Failed, what,
                $"its server is in the foreground of another program (process {record.Pid})",
                "restart that; \"attach --foreground --recover-or-attach\" takes the device over");
        }

        Recovery.CheckImage(record, what);
    }

    /// <summary>The file that the old server was started from stays ours, though its name may be the new one's by now.</summary>
    private static int OpenProgram(int pid, string what)
    {
        var path = $"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/exe";
        var fd = Errno.Of(Fcntl.Open(path, O_RDONLY | O_CLOEXEC, 0));
        return fd >= 0 ? fd
            : throw new OutcomeException(OutcomeKind.Failed, what, $"cannot keep its old program: {path}: {Errno.Text(fd)}");
    }

    /// <summary>As our child sees our descriptor.</summary>
    private static ServerProgram Old(ServerProgram program, int fd) =>
        program with
        {
            Path =
            $"/proc/{Environment.ProcessId.ToString(CultureInfo.InvariantCulture)}/fd/{fd.ToString(CultureInfo.InvariantCulture)}"
        };

    /// <summary>Makes the old server end, and waits until nothing of it is left.</summary>
    /// <returns>descriptors that go to the next server; the caller's</returns>
    private static IReadOnlyList<int> Release(DeviceRegistry registry, DeviceRecord record, string what, TimeSpan timeout)
    {
        var server = ProcessIdentity.Of(record.Pid);
        using var client = ControlClient.TryConnect(registry.Directory, record.Name)
            ?? throw new OutcomeException(OutcomeKind.Busy, what, "its server is still starting", "try again");
        var result = client.Ask(new ControlRequest(ControlVerb.HandOver, timeout, Force: false, AllowShrink: false)).Result;
        if (!result.Succeeded)
            throw new OutcomeException(result.Kind, what, result.Why ?? "its server refused", result.Hint);
        // The supervisor too: it must not take the end of its worker for a death.
        var ended = client.WaitForEnd(s_endTimeout) && server?.WaitForEnd(s_endTimeout) is not false
            && record.Supervisor?.WaitForEnd(s_endTimeout) is not false;
        if (!ended)
        {
            throw new OutcomeException(OutcomeKind.Failed, what, "its server released the device but does not exit",
                $"\"qcow2blk attach --recover {record.Name}\" takes it over once it has");
        }

        return client.TakeDescriptors();
    }

    private static DeviceRecord GoBack(AttachOptions options, ServerProgram old, IReadOnlyList<int> left, OutcomeException failure,
        string what)
    {
        try
        {
            return BackgroundServer.Start(options, old, s_startTimeout, left);
        }
        catch (OutcomeException again)
        {
            throw new OutcomeException(OutcomeKind.Failed, what, $"{failure.Why}; and its old program cannot continue: {again.Why}",
                $"requests of {options.RecoverDevice} are waiting: fix that, then \"qcow2blk attach --recover {options.Name}\"", failure);
        }
    }
}
