using System;
using System.Diagnostics;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>
/// The connections between the kernel's NBD device and our loops: a socket pair each. The kernel shuts one down when a
/// request on it was not answered in time (a suspend, a slow disk) and sends what it knows of there once more, on another
/// connection or on the one that replaces it.
/// </summary>
/// <remarks>
/// What this class keeps: <b>no request begins while a connection that was shut down still has requests in progress</b>, and
/// what it had not begun is dropped. So an older copy of a write never lands after what was written since. It works
/// because the kernel shuts down before it sends anew: whoever holds a newer copy finds the shutdown when it polls.
/// </remarks>
internal sealed unsafe partial class KernelConnections : IConnectionGuard
{
    private readonly Lock _lock = new();
    private readonly NbdServer _server;
    private readonly int _loops;
    private readonly Slot[] _slots;
    private int _draining;
    private bool _ending;
    private ManualResetEventSlim? _allEnded;

    /// <param name="server">serves the connections</param>
    /// <param name="loops">how many loops it has</param>
    /// <param name="count">how many connections the device has</param>
    internal KernelConnections(NbdServer server, int loops, int count)
    {
        _server = server;
        _loops = loops;
        _slots = new Slot[count];
        for (var i = 0; i < count; i++)
            _slots[i] = new Slot();
    }

    /// <summary>Called, on any thread, when a connection has ended and can be replaced.</summary>
    internal Action? Replaceable { get; set; }

    internal int Count => _slots.Length;

    /// <summary>Connections that have been replaced.</summary>
    internal int Replaced { get; private set; }

    private enum SlotState
    {
        /// <summary>No connection: there was none yet, or it has ended.</summary>
        Empty,

        /// <summary>Connected, as far as is known.</summary>
        Live,

        /// <summary>Shut down; some of its requests may be in progress.</summary>
        Draining,
    }

    /// <summary>Connections that are thought alive.</summary>
    internal int Live
    {
        get
        {
            lock (_lock)
                return CountOf(SlotState.Live);
        }
    }

    /// <summary>Makes socket pairs for all connections that there are not, and begins to serve our ends.</summary>
    /// <param name="session">what holds for them</param>
    /// <param name="kernelEnds">the other ends, to be given to the kernel and then closed; none if there is nothing to do</param>
    /// <param name="first">those before it are left alone: they will be adopted</param>
    /// <returns>0 or a negative errno</returns>
    internal int Open(NegotiatedSession session, out int[] kernelEnds, int first = 0)
    {
        lock (_lock)
        {
            var ends = new int[_ending ? 0 : _slots.Length];
            var made = 0;
            var error = 0;
            for (var i = first; i < _slots.Length && made < ends.Length && error == 0; i++)
            {
                if (_slots[i].State != SlotState.Empty)
                    continue;
                error = OpenSlot(i, session, out ends[made]);
                if (error == 0)
                    made++;
            }

            kernelEnds = ends[..made];
            return error;
        }
    }

    public void Ended(int slot)
    {
        bool replaceable;
        lock (_lock)
        {
            if (_slots[slot].State == SlotState.Draining && --_draining == 0)
                _server.ContinueAll();
            _slots[slot].State = SlotState.Empty;
            _slots[slot].Connection = null;
            replaceable = !_ending;
            if (CountOf(SlotState.Empty) == _slots.Length)
                _allEnded?.Set();
        }

        if (replaceable)
            Replaceable?.Invoke();
    }

    /// <summary>From now on connections that end are not replaced.</summary>
    internal void BeginEnd()
    {
        lock (_lock)
            _ending = true;
    }

    /// <summary>Connections that end are replaced again: the device stays after all.</summary>
    internal void CancelEnd()
    {
        lock (_lock)
            _ending = false;
        Replaceable?.Invoke();
    }

    /// <summary>Ends all connections, and waits for the requests in progress.</summary>
    /// <returns>whether all have ended in time</returns>
    internal bool CloseAll(TimeSpan timeout)
    {
        var allEnded = new ManualResetEventSlim();
        lock (_lock)
        {
            _ending = true;
            _allEnded = allEnded;
            if (CountOf(SlotState.Empty) == _slots.Length)
                return true;
        }

        _server.Close();
        return allEnded.Wait(timeout);
    }

    /// <summary>Closes the watched descriptors; no connection may be there any more.</summary>
    internal void CloseWatches()
    {
        lock (_lock)
        {
            foreach (var slot in _slots)
            {
                if (slot.Watch >= 0)
                    Files.Close(slot.Watch);
                slot.Watch = -1;
            }
        }
    }

    private int OpenSlot(int index, NegotiatedSession session, out int kernelEnd)
    {
        // The kernel's end takes all that the device can have in progress in requests of usual size: a sender that had to
        // wait in the middle of a request would hold its connection up, and a signal could tear the request apart.
        const int kernelBuffer = 16 << 20, ourBuffer = 4 << 20;
        var error = Sockets.Pair(out var ours, out kernelEnd);
        if (error < 0)
            return error;
        EnlargeBuffer(kernelEnd, kernelBuffer);
        EnlargeBuffer(ours, ourBuffer);
        error = Serve(index, ours, session, default);
        if (error < 0)
        {
            Files.Close(ours);
            Files.Close(kernelEnd);
        }

        return error;
    }

    /// <summary>Begins to serve our end of a connection, which is its own from now on unless this fails. Under the lock.</summary>
    private int Serve(int index, int ours, NegotiatedSession session, ReadOnlyMemory<byte> unserved)
    {
        var slot = _slots[index];
        var watch = slot.Watch < 0 ? Errno.Of(Fcntl.Control(ours, F_DUPFD_CLOEXEC, 0)) : Unistd.Replace(ours, slot.Watch);
        if (watch < 0)
            return watch;
        if (slot.Opened > 0)
            Replaced++;
        slot.Opened = Stopwatch.GetTimestamp();
        slot.Proven = false;
        slot.IsInUse = false;
        slot.AtLastLook = default;
        slot.Watch = watch;
        slot.State = SlotState.Live;
        _server.Adopt(index % _loops, ours, session, this, index, unserved, connection => slot.Connection = connection);
        return 0;
    }

    private static void EnlargeBuffer(int socket, int bytes)
    {
        if (Sockets.SetOption(socket, SOL_SOCKET, SO_SNDBUFFORCE, bytes) < 0)
            Sockets.SetOption(socket, SOL_SOCKET, SO_SNDBUF, bytes);
    }

    private int CountOf(SlotState state)
    {
        var count = 0;
        foreach (var slot in _slots)
            count += slot.State == state ? 1 : 0;
        return count;
    }
}
