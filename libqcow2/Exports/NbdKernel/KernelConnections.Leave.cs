using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>Connections that pass from one process to the next: the kernel sees no end of them, and sends nothing anew.</summary>
internal sealed unsafe partial class KernelConnections
{
    private readonly List<KeptConnection> _left = [];

    public void Left(int slot, int socket, byte[] unserved)
    {
        lock (_lock)
            _left.Add(new KeptConnection(socket, unserved));
        Ended(slot);
    }

    /// <summary>
    /// Stops to serve all connections while their requests are held, and keeps those open that can be. The others end: the
    /// kernel sends their requests anew.
    /// </summary>
    /// <param name="timeout">how long replies may take to go out</param>
    /// <param name="kept">what the next process goes on with; the caller's</param>
    /// <returns>whether all have ended or been left in time</returns>
    internal bool Leave(TimeSpan timeout, out IReadOnlyList<KeptConnection> kept)
    {
        var allEnded = new ManualResetEventSlim();
        lock (_lock)
        {
            _ending = true;
            _allEnded = allEnded;
            for (var i = 0; i < _slots.Length; i++)
            {
                var slot = _slots[i];
                if (slot.State == SlotState.Live)
                    _server.Post(i % _loops, () => slot.Connection?.Leave());
            }

            if (CountOf(SlotState.Empty) == _slots.Length)
                allEnded.Set();
        }

        var ended = allEnded.Wait(timeout) || CloseAll(timeout);
        lock (_lock)
        {
            kept = [.. _left];
            _left.Clear();
        }

        return ended;
    }

    /// <summary>Goes on with connections that another process left.</summary>
    /// <returns>0 or a negative errno: then those that were not taken are closed, and others wanted in their place</returns>
    internal int Adopt(NegotiatedSession session, IReadOnlyList<KeptConnection> kept)
    {
        var error = 0;
        lock (_lock)
        {
            for (var i = 0; i < kept.Count; i++)
            {
                if (error == 0)
                    error = i < _slots.Length ? Serve(i, kept[i].Socket, session, kept[i].Unserved) : -Errno.EINVAL;
                if (error < 0)
                    Files.Close(kept[i].Socket);
            }
        }

        if (error < 0)
            Replaceable?.Invoke();
        return error;
    }
}
