using System;
using System.Diagnostics;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Interop;

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

    public bool MayBegin()
    {
        // A single connection is replaced only when all of it has ended: there is no other for a newer copy.
        if (_slots.Length == 1)
            return true;
        if (Volatile.Read(ref _draining) == 0 && !AnyShutDown())
            return true;
        lock (_lock)
        {
            DrainShutDown();
            return _draining == 0;
        }
    }

    /// <summary>Looks for connections that the kernel has shut down, and sees to their end. Any thread.</summary>
    internal void LookForShutDown()
    {
        if (!AnyShutDown())
            return;
        lock (_lock)
            DrainShutDown();
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

    /// <summary>Fills in what to poll for: shutdowns of the connections that live.</summary>
    internal int FillPoll(Span<pollfd> entries)
    {
        lock (_lock)
        {
            for (var i = 0; i < _slots.Length; i++)
                entries[i] = new pollfd { fd = _slots[i].State == SlotState.Live ? _slots[i].Watch : -1, events = Poll.POLLRDHUP };
            return _slots.Length;
        }
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

    private static bool IsShutDown(in pollfd entry) =>
        entry.fd >= 0 && (entry.revents & (Poll.POLLRDHUP | Poll.POLLHUP | Poll.POLLERR)) != 0;

    /// <summary>Asks the kernel; allocates nothing, takes no lock.</summary>
    /// <remarks>Invariant: the number of a watched descriptor never changes once it is there; only what is behind it does.</remarks>
    private bool AnyShutDown()
    {
        var entries = stackalloc pollfd[_slots.Length];
        for (var i = 0; i < _slots.Length; i++)
        {
            var slot = _slots[i];
            var state = slot.State;
            if (state == SlotState.Draining)
                return true; // Begun since the caller looked.
            entries[i] = new pollfd { fd = state == SlotState.Live ? slot.Watch : -1, events = Poll.POLLRDHUP };
        }

        int ready;
        do
            ready = Poll.Wait(entries, _slots.Length, 0);
        while (ready == -Errno.EINTR);
        return ready != 0;
    }

    /// <summary>Begins the end of every connection that is shut down. Under the lock.</summary>
    private void DrainShutDown()
    {
        var entries = stackalloc pollfd[_slots.Length];
        FillPoll(new Span<pollfd>(entries, _slots.Length));
        int ready;
        do
            ready = Poll.Wait(entries, _slots.Length, 0);
        while (ready == -Errno.EINTR);
        for (var i = 0; i < _slots.Length && ready > 0; i++)
        {
            if (!IsShutDown(entries[i]))
                continue;
            var slot = _slots[i];
            slot.State = SlotState.Draining;
            _draining++;
            _server.Post(i % _loops, () => slot.Connection?.Close());
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
        var watch = slot.Watch < 0 ? Errno.Of(Fcntl.Control(ours, Fcntl.F_DUPFD_CLOEXEC, 0)) : Unistd.Replace(ours, slot.Watch);
        if (watch < 0)
            return watch;
        if (slot.Opened > 0)
            Replaced++;
        slot.Opened = Stopwatch.GetTimestamp();
        slot.Proven = false;
        slot.AtLastLook = default;
        slot.Watch = watch;
        slot.State = SlotState.Live;
        _server.Adopt(index % _loops, ours, session, this, index, unserved, connection => slot.Connection = connection);
        return 0;
    }

    private static void EnlargeBuffer(int socket, int bytes)
    {
        if (Sockets.SetOption(socket, Sockets.SOL_SOCKET, Sockets.SO_SNDBUFFORCE, bytes) < 0)
            Sockets.SetOption(socket, Sockets.SOL_SOCKET, Sockets.SO_SNDBUF, bytes);
    }

    private int CountOf(SlotState state)
    {
        var count = 0;
        foreach (var slot in _slots)
            count += slot.State == state ? 1 : 0;
        return count;
    }

    /// <summary>One connection of the device, and those that replace it. Changed under the lock.</summary>
    private sealed class Slot
    {
        private volatile SlotState _state;
        private volatile int _watch = -1;

        internal SlotState State
        {
            get => _state;
            set => _state = value;
        }

        /// <summary>A duplicate of our end, to poll: its number stays when the connection is replaced.</summary>
        internal int Watch
        {
            get => _watch;
            set => _watch = value;
        }

        /// <summary>Timestamp of the last opening; 0 if there was none.</summary>
        internal long Opened { get; set; }

        /// <summary>Whether the kernel has received a reply.</summary>
        internal bool Proven { get; set; }

        /// <summary>Replies sent, and bytes of them that the kernel had not received, at the last look.</summary>
        internal (int Answers, int Unreceived) AtLastLook { get; set; }

        /// <summary>Its loop's; looked at by others.</summary>
        internal NbdConnection? Connection { get; set; }
    }
}
