using System;
using System.Net;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>Connecting, and again after a connection was lost.</summary>
internal sealed partial class NbdSource
{
    /// <summary>Addresses of a host that are tried; they share the time for one.</summary>
    private const int MostAddresses = 4;

    /// <summary>Sees to it that there is a connection. Who asks while another one connects waits for that.</summary>
    private async LoopTask<FetchResult> EnsureAsync()
    {
        while (true)
        {
            if (_final is { } final)
                return final;
            if (_isClosed)
                return Closed;
            if (_open.Count > 0)
                return FetchResult.Done;
            if (!_isConnecting)
                return await ConnectAsync();
            await _connected.WaitAsync();
            if (!_lastConnect.IsDone)
                return _lastConnect;
        }
    }

    /// <summary>One more, while the others work. If there is none, they have to do.</summary>
    private async LoopTask<int> AddConnectionAsync()
    {
        var result = await ConnectAsync();
        if (result.IsDone || _isClosed || _final is not null)
            return 0;
        _hasEnough = true;
        _report($"{Name}: {_open.Count} connections have to do: {result.Why}");
        return 0;
    }

    private async LoopTask<FetchResult> ConnectAsync()
    {
        _isConnecting = true;
        _loop ??= EventLoop.Current;
        var result = _address.SocketPath is { } path ? await ConnectUnixAsync(path) : await ConnectHostAsync(_address.Host!);
        if (_isClosed && !result.IsDone)
            result = Closed;
        _isConnecting = false;
        _lastConnect = result.IsDone || result.Why is null ? result : result with { Why = $"{Name}: {result.Why}" };
        if (_lastConnect.IsFinal)
            _lastConnect = End(_lastConnect);
        _connected.WakeAll();
        return _lastConnect;
    }

    private async LoopTask<FetchResult> ConnectUnixAsync(string path)
    {
        var fd = UnixSocket.Connect(path, wait: false);
        if (fd < 0)
            return Unreached(fd);
        var error = InetSockets.SetBlocking(fd);
        if (error == 0)
            return (await OpenAsync(fd, _times.Connect)).Result;
        _ = Files.Close(fd);
        return Unreached(error);
    }

    private async LoopTask<FetchResult> ConnectHostAsync(string host)
    {
        var lookup = _lookup = NameLookup.Start(_loop!, host);
        await lookup.WaitAsync(_times.Connect);
        _lookup = null;
        if (lookup.Addresses.Length == 0)
            return new FetchResult(FetchStatus.Unavailable, $"cannot find the host: {lookup.Why}");
        var addresses = lookup.Addresses.AsSpan(0, Math.Min(lookup.Addresses.Length, MostAddresses)).ToArray();
        FetchResult result = default;
        foreach (var address in addresses)
        {
            var fd = _isClosed ? -Errno.ECANCELED : InetSockets.StartConnect(address, _address.Port);
            if (fd < 0)
            {
                result = Unreached(fd, address);
                continue;
            }

            (result, var isServer) = await OpenAsync(fd, _times.Connect / addresses.Length);

            // Once a server has answered, what it said counts.
            if (isServer || result.Status != FetchStatus.Unavailable)
                break;
        }

        return result;
    }

    private static FetchResult Unreached(int error, IPAddress? address = null) =>
        new(FetchStatus.Unavailable, $"cannot connect{(address is null ? "" : $" to {address}")}: {Errno.Text(error)}");

    private async LoopTask<(FetchResult Result, bool IsServer)> OpenAsync(int fd, int greetingTime)
    {
        var handshake = new ClientHandshake(_address.Export, _address.IsTls, _asksForHoles);
        var connection = new NbdClientConnection(_loop!, fd, handshake, _times, Ended)
        {
            Freed = _room.WakeOne,
            Trust = _trust,
        };
        _alive.Add(connection);
        var result = await connection.OpenAsync(greetingTime);
        if (result.IsDone)
            result = Admit(connection);
        return (result, connection.IsGreeted);
    }

    /// <summary>Takes a connection into use, if it leads to what the others led to.</summary>
    private FetchResult Admit(NbdClientConnection connection)
    {
        var result = _isClosed ? Closed
            : !connection.IsOpen ? new FetchResult(FetchStatus.Unavailable, "the connection was lost")
            : _export?.DifferenceTo(connection.Export!) is { } difference ? new FetchResult(FetchStatus.Changed, difference)
            : FetchResult.Done;
        if (!result.IsDone)
        {
            connection.Close(result);
            return result;
        }

        _export ??= connection.Export;
        Identity ??= new SourceIdentity(_export!.Size, _version);
        _hasEnough &= _open.Count > 0;
        if (_open.Count == 0)
            ForgetHoles(connection.Export!);
        _open.Add(connection);
        return result;
    }
}
