using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>How the device goes away, or to another server.</summary>
internal sealed partial class KernelNbdExport
{
    private static readonly TimeSpan s_forcedEnd = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_releaseTimeout = TimeSpan.FromSeconds(10);

    // Users that a device was taken from may keep it open for ever.
    private static readonly TimeSpan s_usersPatience = TimeSpan.FromMilliseconds(500);
    private const int GonePollMilliseconds = 5;

    /// <inheritdoc/>
    public int Stop(bool force, TimeSpan timeout)
    {
        var started = Stopwatch.GetTimestamp();
        if (_ended || !_attachment.Device.IsConfigured)
            return 0;
        if (!force && FindUser() is not null)
            return -Errno.EBUSY;
        var claim = BlockDeviceFlush.Claim(DevicePath!, _readOnly, timeout);
        if (claim < 0)
        {
            if (!force)
                return claim;
            _log.Warning($"cannot write out the cached data of {DevicePath} before it ends: {Errno.Text(claim)}");
            if (claim == -Errno.EBUSY && !_readOnly)
                BlockDeviceFlush.Sync(DevicePath!, timeout - Stopwatch.GetElapsedTime(started));
        }

        // Claimed until it is gone: nobody can begin to use what is on its way out.
        var error = Disconnect(force && claim < 0, Rest(started, timeout));
        if (claim >= 0)
            BlockDeviceFlush.Release(claim, s_releaseTimeout);
        if (error == 0)
            WaitUntilGone(claim >= 0 ? Rest(started, timeout) : s_usersPatience);
        return error;
    }

    /// <summary>With the connections themselves the next server needs nothing of the kernel: it sends nothing anew.</summary>
    public int HandOver(TimeSpan timeout, ICollection<int> kept)
    {
        ArgumentNullException.ThrowIfNull(kept);
        if (!_attachment.CanReconnect)
            return -Errno.EOPNOTSUPP;
        _ended = true;
        _watch?.Dispose();
        // One whose replies the kernel does not take ends with this process: its requests are held here, and sent anew there.
        if (!_connections.Leave(timeout, out var connections))
            _log.Warning($"{DevicePath}: a connection did not end; the kernel notices only when this server exits");
        foreach (var descriptor in KeptConnection.Pack(connections))
            kept.Add(descriptor);
        return 0;
    }

    /// <summary>Ends what is still there, whoever uses it; nothing waits for storage that hangs.</summary>
    public void Dispose()
    {
        if (!_ended && _attachment.Device.IsConfigured)
            Disconnect(force: true, s_forcedEnd);
        _ended = true;
        _watch?.Dispose();
        if (_connections.CloseAll(s_forcedEnd))
            _connections.CloseWatches();
        _attachment.Dispose();
    }

    private int Disconnect(bool force, TimeSpan timeout)
    {
        _connections.BeginEnd();
        _ended = true;
        if (force)
            _server.Close(); // Senders that wait for us would hold the goodbye up.
        var error = _attachment.Disconnect(force, timeout);
        if (error == 0)
            return 0;
        _ended = false;
        _connections.CancelEnd();
        return error;
    }

    /// <summary>The kernel keeps the device as long as somebody has it open: it has no size then, and serves nothing.</summary>
    private void WaitUntilGone(TimeSpan timeout)
    {
        var started = Stopwatch.GetTimestamp();
        while (_attachment.Device.IsConfigured)
        {
            if (Stopwatch.GetElapsedTime(started) > timeout)
            {
                _log.Warning(
                    $"{DevicePath} is disconnected, but stays until it is closed: it is"
                        + $" {new BlockDeviceUsers().Find(_attachment.Device.Name, tryExclusive: false) ?? "open"}");
                return;
            }

            Thread.Sleep(GonePollMilliseconds);
        }
    }

    private static TimeSpan Rest(long started, TimeSpan timeout)
    {
        var rest = timeout - Stopwatch.GetElapsedTime(started);
        return rest > TimeSpan.FromSeconds(2) ? rest : TimeSpan.FromSeconds(2);
    }
}
