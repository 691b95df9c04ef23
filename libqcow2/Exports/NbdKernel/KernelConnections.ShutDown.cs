using System;
using System.Threading;
using Qcow2Blk.Interop;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>Connections that the kernel has shut down: found by whoever is about to begin a request.</summary>
internal sealed unsafe partial class KernelConnections
{
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

    /// <summary>Fills in what to poll for: shutdowns of the connections that live.</summary>
    internal int FillPoll(Span<pollfd> entries)
    {
        lock (_lock)
        {
            for (var i = 0; i < _slots.Length; i++)
                entries[i] = new pollfd { fd = _slots[i].State == SlotState.Live ? _slots[i].Watch : -1, events = POLLRDHUP };
            return _slots.Length;
        }
    }

    private static bool IsShutDown(in pollfd entry) =>
        entry.fd >= 0 && ((ushort)entry.revents & ((ushort)POLLRDHUP | (ushort)POLLHUP | (ushort)POLLERR)) != 0;

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
            entries[i] = new pollfd { fd = state == SlotState.Live ? slot.Watch : -1, events = POLLRDHUP };
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
}
