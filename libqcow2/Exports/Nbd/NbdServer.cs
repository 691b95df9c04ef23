using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>Accepts clients and spreads them over the loops of a device. Public members may be called from any thread.</summary>
internal sealed class NbdServer
{
    /// <summary>More clients than this at once are sent away.</summary>
    public const int MaximumConnections = 256;

    // Large enough for a few large replies: the server need not wait for a client that reads in small steps.
    private const int SocketBufferBytes = 1 << 20;

    private readonly NbdLoop[] _loops;
    private readonly IExportCatalog _catalog;
    private readonly Action<string> _report;
    private readonly AcceptOperation _accept;
    private long _accepted;

    /// <param name="loops">the loops of the device, the home loop first; all started</param>
    /// <param name="served">what is served</param>
    /// <param name="catalog">what clients are told of it</param>
    /// <param name="report">told why clients were sent away</param>
    public NbdServer(IReadOnlyList<EventLoop> loops, ServedDisk served, IExportCatalog catalog, Action<string> report)
        : this(loops, served, catalog, report, ClientLimits.Default)
    {
    }

    internal NbdServer(IReadOnlyList<EventLoop> loops, ServedDisk served, IExportCatalog catalog, Action<string> report,
        ClientLimits limits)
    {
        ArgumentNullException.ThrowIfNull(loops);
        Memory = new RequestMemory(limits.MemoryBytes);
        _catalog = catalog;
        _report = report;
        _loops = new NbdLoop[loops.Count];
        for (var i = 0; i < _loops.Length; i++)
            _loops[i] = new NbdLoop(loops[i], served, Memory, limits);
        _accept = new AcceptOperation(this);
    }

    /// <summary>What the clients of all loops share.</summary>
    internal RequestMemory Memory { get; }

    /// <summary>Connections accepted so far.</summary>
    public long Accepted => Volatile.Read(ref _accepted);

    /// <summary>Connections there are now.</summary>
    public int Connections
    {
        get
        {
            var sum = 0;
            foreach (var loop in _loops)
                sum += loop.ConnectionCount;
            return sum;
        }
    }

    /// <summary>Requests in progress, those that wait for space, and those that a limit holds back.</summary>
    public (int Active, int Parked, int Limited) InFlight
    {
        get
        {
            var (active, parked, limited) = (0, 0, 0);
            foreach (var gate in _loops.Select(loop => loop.Gate))
                (active, parked, limited) = (active + gate.Active, parked + gate.Parked, limited + gate.Limited);
            return (active, parked, limited);
        }
    }

    /// <summary>What all loops have served.</summary>
    public IoStatistics Statistics()
    {
        var sum = new IoStatistics();
        foreach (var loop in _loops)
            sum.Add(loop.Statistics);
        return sum;
    }

    /// <summary>Starts to accept from a listening socket, which stays the caller's.</summary>
    public void Listen(int listeningSocket) =>
        _loops[0].Loop.PostFromAnyThread(() => _accept.Start(listeningSocket));

    /// <summary>Serves a socket whose other end is the kernel's: no handshake, it begins with a request.</summary>
    /// <param name="loop">number of the loop that serves it</param>
    /// <param name="socket">the server's end, the connection's from now on</param>
    /// <param name="session">what holds for it</param>
    /// <param name="guard">asked before requests begin, told of the end</param>
    /// <param name="slot">names the connection to the guard</param>
    /// <param name="unserved">what another process received on it and did not serve</param>
    /// <param name="made">gets the connection, on its loop</param>
    internal void Adopt(int loop, int socket, NegotiatedSession session, IConnectionGuard guard, int slot, ReadOnlyMemory<byte> unserved,
        Action<NbdConnection> made)
    {
        var target = _loops[loop];
        target.Assigned();
        target.Loop.PostFromAnyThread(() =>
        {
            var connection = new NbdConnection(target, socket, session, guard, slot, unserved, _report);
            made(connection);
            connection.Start();
        });
    }

    /// <summary>Runs something on a loop.</summary>
    internal void Post(int loop, Action work) => _loops[loop].Loop.PostFromAnyThread(work);

    /// <summary>Looks for clients that stopped in the middle, as every second does. Any thread.</summary>
    internal void LookAtClients()
    {
        foreach (var loop in _loops)
            loop.Loop.PostFromAnyThread(() => loop.LookAtClients());
    }

    /// <summary>Lets connections look again at what they have received.</summary>
    internal void ContinueAll()
    {
        foreach (var loop in _loops)
            loop.Loop.PostFromAnyThread(loop.Continue);
    }

    /// <summary>Holds new requests on all loops; calls <paramref name="drained"/> on some loop when none is in progress.</summary>
    public void Hold(Action drained)
    {
        var left = _loops.Length;
        foreach (var loop in _loops)
        {
            loop.Loop.PostFromAnyThread(() => loop.Gate.Hold(() =>
            {
                if (Interlocked.Decrement(ref left) == 0)
                    drained();
            }));
        }
    }

    /// <summary>Lets held requests go on.</summary>
    public void Release()
    {
        foreach (var loop in _loops)
            loop.Loop.PostFromAnyThread(loop.Release);
    }

    /// <summary>Ends what waits, and what comes, with this negative errno.</summary>
    public void Refuse(int error)
    {
        foreach (var loop in _loops)
            loop.Loop.PostFromAnyThread(() => loop.Refuse(error));
    }

    /// <summary>Accepts nobody any more and ends all connections.</summary>
    public void Close()
    {
        _accept.Stop();
        foreach (var loop in _loops)
            loop.Loop.PostFromAnyThread(loop.CloseAll);
    }

    private void Serve(int socket)
    {
        Interlocked.Increment(ref _accepted);
        if (Connections >= MaximumConnections)
        {
            _report($"refusing a client: {MaximumConnections} are connected");
            Files.Close(socket);
            return;
        }

        // Both calls are refused on the other kind of socket, or without rights: then the defaults do.
        Sockets.SetOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
        KeepAlive(socket);
        if (Sockets.SetOption(socket, SOL_SOCKET, SO_SNDBUFFORCE, SocketBufferBytes) < 0)
            Sockets.SetOption(socket, SOL_SOCKET, SO_SNDBUF, SocketBufferBytes);
        var loop = LeastBusy();
        loop.Assigned();
        loop.Loop.PostFromAnyThread(() => new NbdConnection(loop, socket, _catalog, _report).Start());
    }

    /// <summary>A client whose host died without a word must not hold its connection for ever.</summary>
    private static void KeepAlive(int socket)
    {
        const int idleSeconds = 60, intervalSeconds = 10, probes = 6, unansweredMilliseconds = 120_000;
        Sockets.SetOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
        Sockets.SetOption(socket, IPPROTO_TCP, TCP_KEEPIDLE, idleSeconds);
        Sockets.SetOption(socket, IPPROTO_TCP, TCP_KEEPINTVL, intervalSeconds);
        Sockets.SetOption(socket, IPPROTO_TCP, TCP_KEEPCNT, probes);
        Sockets.SetOption(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, unansweredMilliseconds);
    }

    /// <summary>The loop with the fewest clients; the home loop among equals, as it need not hand anything over.</summary>
    private NbdLoop LeastBusy()
    {
        var best = _loops[0];
        foreach (var loop in _loops)
        {
            if (loop.ConnectionCount < best.ConnectionCount)
                best = loop;
        }

        return best;
    }

    private sealed class AcceptOperation(NbdServer server) : IRingOperation
    {
        private volatile bool _stopped;
        private int _listener;
        private int _index = -1;

        public void Start(int listener)
        {
            _listener = listener;
            _index = server._loops[0].Loop.Register(this);
            Submit();
        }

        public void Stop() => _stopped = true;

        public void Completed(int result, uint flags)
        {
            if (_stopped)
            {
                if (result >= 0)
                    Files.Close(result);
                return;
            }

            if (result >= 0)
                server.Serve(result);
            if (result is -Errno.EINVAL or -9)
                return; // Shut down or closed: there is nothing to listen on any more.
            if (result < 0 && result is not (-Errno.EINTR or -Errno.EAGAIN or -Errno.ECONNRESET))
            {
                // Out of descriptors or memory: trying again at once would only burn the processor.
                server._report($"cannot accept a client: {Errno.Text(result)}");
                SubmitLaterAsync().Forget();
                return;
            }

            Submit();
        }

        private async LoopTask<int> SubmitLaterAsync()
        {
            await server._loops[0].Loop.DelayAsync(100);
            if (!_stopped)
                Submit();
            return 0;
        }

        private unsafe void Submit()
        {
            const uint closeOnExec = 0x80000; // SOCK_CLOEXEC
            var entry = server._loops[0].Loop.Ring.Next();
            entry->opcode = IoUring.IORING_OP_ACCEPT;
            entry->fd = _listener;
            entry->rw_flags = closeOnExec;
            entry->user_data = (ulong)_index;
        }
    }
}
