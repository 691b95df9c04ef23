using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>The connections that one loop serves, and the gate that holds their requests while the device is suspended.</summary>
internal sealed class NbdLoop
{
    private const int RetryMilliseconds = 1000;
    private const int HandshakeCheckMilliseconds = 1000;

    private readonly List<NbdConnection> _connections = [];
    private readonly List<NbdRequest> _parked = [];
    private NbdRequest? _free;
    private Action? _drained;
    private bool _retryScheduled;
    private bool _watching;
    private int _connectionCount;

    public NbdLoop(EventLoop loop, ServedDisk served)
    {
        Loop = loop;
        Served = served;
        Chunks = new ReceiveChunkPool(loop.Buffers);
    }

    public EventLoop Loop { get; }

    public ServedDisk Served { get; }

    public ReceiveChunkPool Chunks { get; }

    public IoStatistics Statistics { get; } = new();

    /// <summary>Requests wait at the gate: the device is suspended, or on its way there.</summary>
    public bool Held { get; private set; }

    /// <summary>Requests in progress.</summary>
    public int Active { get; private set; }

    /// <summary>Requests that wait for space in the file system.</summary>
    public int Parked => _parked.Count;

    /// <summary>Connections given to the loop that have not ended. Any thread.</summary>
    public int ConnectionCount => Volatile.Read(ref _connectionCount);

    /// <summary>A connection is on its way to the loop. Any thread.</summary>
    public void Assigned() => Interlocked.Increment(ref _connectionCount);

    public void Add(NbdConnection connection) => _connections.Add(connection);

    public void Remove(NbdConnection connection)
    {
        _connections.Remove(connection);
        Interlocked.Decrement(ref _connectionCount);
        if (_connections.Count == 0)
            Loop.Buffers.Trim();
    }

    /// <summary>Sees to it that handshakes end, with one timer for all of them.</summary>
    public void WatchHandshakes()
    {
        if (_watching)
            return;
        _watching = true;
        WatchHandshakesAsync().Forget();
    }

    public NbdRequest Rent()
    {
        var request = _free ?? new NbdRequest(this);
        _free = request.Next;
        request.Next = null;
        return request;
    }

    /// <summary>A request begins to work on the disk.</summary>
    public void Began() => Active++;

    public void Return(NbdRequest request)
    {
        request.Connection = null!;
        request.Next = _free;
        _free = request;
    }

    /// <summary>A request has done what it asked for (its reply may still be on the way).</summary>
    public void Ended()
    {
        Active--;
        ReportDrained();
    }

    /// <summary>Lets no request begin any more; calls <paramref name="drained"/> when those in progress have ended.</summary>
    public void Hold(Action drained)
    {
        Held = true;
        _drained = drained;
        ReportDrained();
    }

    /// <summary>Lets requests begin again, first those that waited.</summary>
    public void Release()
    {
        Held = false;
        _drained = null;
        RestartParked();
        for (var i = _connections.Count - 1; i >= 0; i--)
            _connections[i].Continue();
    }

    /// <summary>Puts a request aside that found no space; it is tried again every second, and after a resume.</summary>
    public void Park(NbdRequest request)
    {
        _parked.Add(request);
        Ended();
        if (!_retryScheduled && !Held)
        {
            _retryScheduled = true;
            RetryLaterAsync().Forget();
        }
    }

    public void CloseAll()
    {
        foreach (var request in _parked)
        {
            Active++;
            request.Connection.Completed(request, -Interop.Errno.ENOSPC, final: true);
        }

        _parked.Clear();
        for (var i = _connections.Count - 1; i >= 0; i--)
            _connections[i].Close();
    }

    private void ReportDrained()
    {
        if (Active > 0 || _drained is null)
            return;
        var drained = _drained;
        _drained = null;
        drained();
    }

    private async LoopTask<int> WatchHandshakesAsync()
    {
        var any = true;
        while (any)
        {
            await Loop.DelayAsync(HandshakeCheckMilliseconds);
            any = false;
            for (var i = _connections.Count - 1; i >= 0; i--)
                any |= _connections[i].EndLateHandshake();
        }

        _watching = false;
        return 0;
    }

    private async LoopTask<int> RetryLaterAsync()
    {
        await Loop.DelayAsync(RetryMilliseconds);
        _retryScheduled = false;
        if (!Held)
            RestartParked();
        return 0;
    }

    private void RestartParked()
    {
        for (var i = _parked.Count; i > 0; i--)
        {
            var request = _parked[0];
            _parked.RemoveAt(0);
            Active++;
            request.StartAtHome();
        }
    }
}
