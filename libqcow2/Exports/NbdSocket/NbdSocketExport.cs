using System;
using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Logging;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports.NbdSocket;

/// <summary>A disk served to NBD clients on a listening socket.</summary>
internal sealed class NbdSocketExport : IExport
{
    private readonly NbdServer _server;
    private NbdListener? _listener;

    /// <exception cref="ExportRefusedException">the address cannot be had</exception>
    public NbdSocketExport(NbdSocketOptions options, IReadOnlyList<EventLoop> loops, ServedDisk served, IExportCatalog catalog, ILog log)
    {
        _listener = NbdListener.Open(options);
        _server = new NbdServer(loops, served, catalog, log.Info);
        _server.Listen(_listener.Descriptor);
    }

    public string Transport => "nbd-server";

    public string? Uri => _listener?.Uri;

    public string? DevicePath => null;

    public int Connections => _server.Connections;

    public (int Active, int Parked, int Limited) InFlight => _server.InFlight;

    public IoStatistics Statistics() => _server.Statistics();

    public void Hold(Action drained) => _server.Hold(drained);

    public void Release() => _server.Release();

    public void Refuse(int error) => _server.Refuse(error);

    public string? Resize(long size) => "NBD clients see it when they connect again";

    public string? FindUser() => null;

    /// <summary>Clients flush for themselves: there is nothing to write down for them.</summary>
    public int Stop(bool force, TimeSpan timeout) => 0;

    public int HandOver(TimeSpan timeout, System.Collections.Generic.ICollection<int> kept) => -Interop.Errno.EOPNOTSUPP;

    public void WriteStatus(Utf8JsonWriter writer)
    {
        // Everything there is to say of it stands among the requests.
    }

    public void Dispose()
    {
        if (_listener is null)
            return;
        _server.Close();
        _listener.Dispose();
        _listener = null;
    }
}
