using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>The connections that one loop serves, behind the gate of that loop.</summary>
internal sealed class NbdLoop
{
    private readonly List<NbdConnection> _connections = [];
    private NbdRequest? _free;
    private bool _watching;
    private int _connectionCount;

    public NbdLoop(EventLoop loop, ServedDisk served, RequestMemory memory, ClientLimits limits)
    {
        Loop = loop;
        Served = served;
        Memory = memory;
        Limits = limits;
        Gate = new RequestGate(loop, served.NoteStalls, served.Limits);
        Chunks = new ReceiveChunkPool(loop.Buffers);
    }

    public EventLoop Loop { get; }

    public ServedDisk Served { get; }

    /// <summary>What the clients of all loops share.</summary>
    public RequestMemory Memory { get; }

    public ClientLimits Limits { get; }

    /// <summary>A connection leaves requests unread in its socket while the gate is closed.</summary>
    public RequestGate Gate { get; }

    public ReceiveChunkPool Chunks { get; }

    public IoStatistics Statistics { get; } = new();

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

    /// <summary>Sees to it that what clients have begun ends, with one timer for all of them.</summary>
    public void WatchClients()
    {
        if (_watching || Limits.LookMilliseconds < 0)
            return;
        _watching = true;
        WatchClientsAsync().Forget();
    }

    /// <summary>One look at all clients.</summary>
    /// <returns>whether to look again</returns>
    public bool LookAtClients()
    {
        var again = false;
        for (var i = _connections.Count - 1; i >= 0; i--)
            again |= _connections[i].LookForStall();
        return again;
    }

    public NbdRequest Rent()
    {
        var request = _free ?? new NbdRequest(this);
        _free = request.Next;
        request.Next = null;
        return request;
    }

    public void Return(NbdRequest request)
    {
        request.Connection = null!;
        request.Next = _free;
        _free = request;
    }

    /// <summary>Lets requests begin again, first those that waited.</summary>
    public void Release()
    {
        Gate.Release();
        Continue();
    }

    /// <summary>Ends what waits, and what comes, with this errno.</summary>
    public void Refuse(int error)
    {
        Gate.RefuseWaiting(error);
        Continue();
    }

    public void CloseAll()
    {
        Gate.RefuseParked();
        Gate.RefuseWaiting(-Errno.ESHUTDOWN);
        for (var i = _connections.Count - 1; i >= 0; i--)
            _connections[i].CloseAfterReady();
    }

    /// <summary>Lets connections look again at what they have received.</summary>
    public void Continue()
    {
        for (var i = _connections.Count - 1; i >= 0; i--)
            _connections[i].Continue();
    }

    private async LoopTask<int> WatchClientsAsync()
    {
        do
            await Loop.DelayAsync(Limits.LookMilliseconds);
        while (LookAtClients());
        _watching = false;
        return 0;
    }
}
