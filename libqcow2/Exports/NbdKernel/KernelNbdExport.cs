using System;
using System.Collections.Generic;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>
/// A disk offered as /dev/nbdN: the kernel's NBD driver is the client, over socket pairs, one for each loop. How the device
/// is made is in <c>KernelNbdExport.Open.cs</c>, how it ends in <c>KernelNbdExport.End.cs</c>.
/// </summary>
internal sealed partial class KernelNbdExport : IExport
{
    private readonly ILog _log;
    private readonly NbdServer _server;
    private readonly NegotiatedSession _session;
    private readonly KernelConnections _connections;
    private readonly INbdAttachment _attachment;
    private readonly ConnectionWatch? _watch;
    private readonly NbdDeviceConfig _config;
    private readonly bool _readOnly;
    private long _pendingSize = -1;
    private static readonly TimeSpan s_sizePatience = TimeSpan.FromSeconds(5);

    private volatile bool _held;
    private volatile bool _ended;

    public string Transport => "nbd";

    public string? Uri => null;

    public string? DevicePath => _attachment.Device.Path;

    public int Connections => _connections.Live;

    public (int Active, int Parked, int Limited) InFlight => _server.InFlight;

    public IoStatistics Statistics() => _server.Statistics();

    public void Hold(Action drained)
    {
        _held = true;
        _server.Hold(drained);
    }

    public void Release()
    {
        _server.Release();
        _held = false;
        TellSize();
    }

    public void Refuse(int error) => _server.Refuse(error);

    /// <summary>
    /// Newer kernels change the size only when no request is in progress, and wait for that: with requests held that would
    /// be for ever. So the kernel is told after the release.
    /// </summary>
    public string? Resize(long size)
    {
        Interlocked.Exchange(ref _pendingSize, new BlockDeviceSize(size, _config.BlockSize).Bytes);
        if (!_held)
            TellSize();
        return null;
    }

    public string? FindUser() => new BlockDeviceUsers().Find(_attachment.Device.Name, tryExclusive: !_held);

    public void WriteStatus(Utf8JsonWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.WriteBoolean("netlink", _attachment.CanReconnect);
        writer.WriteNumber("block-size", _config.BlockSize);
        writer.WriteNumber("connections", _connections.Count);
        writer.WriteNumber("reconnected", _connections.Replaced);
        writer.WriteNumber("timeout", _config.Timeout);
        writer.WriteNumber("dead-timeout", _config.DeadTimeout);
        writer.WriteString("identifier", _config.Identifier);
    }

    /// <summary>
    /// Tells the kernel the size of the moment, and waits a while for it to show it: who resumes wants to use it. In a thread of
    /// its own, which goes on then: the kernel waits for requests in progress.
    /// </summary>
    private void TellSize()
    {
        var size = Interlocked.Exchange(ref _pendingSize, -1);
        if (size < 0 || _ended)
            return;
        TimedCall.Run(
            "qcow2blk-size",
            () =>
            {
                var error = _attachment.Resize(size);
                if (error < 0 && !_ended)
                {
                    _log.Error(
                        $"{DevicePath} keeps its size: the kernel refused {size} bytes: {Errno.Text(error)}; detach and attach again"
                            + $" to see the new size");
                }

                return error;
            },
            s_sizePatience);
    }
}
