using System;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>
/// Connections whose replies the kernel does not receive. The driver has a work item for each connection that receives for
/// ever. When the machine is too busy to start a thread for one within 10 ms, the rescuer thread of the workqueue takes all
/// items that wait, and runs the first of them, for ever: the others never begin, and requests on their connections wait for
/// the timeout. What helps is to end the connection that keeps the rescuer: then it goes on to the next, and the ended one is
/// replaced, with an item of its own.
/// </summary>
internal sealed unsafe partial class KernelConnections
{
    // The driver's depth of a queue.
    private const int RequestsOfConnection = 128;

    private int _lastEnded;

    /// <summary>Called, on any thread, when a connection has its first request: from then on it may be found stuck.</summary>
    internal Action? CameIntoUse { get; set; }

    public void InUse(int slot)
    {
        _slots[slot].IsInUse = true;
        CameIntoUse?.Invoke();
    }

    /// <summary>Whether there are connections in use of which it is not known yet that the kernel receives what is sent.</summary>
    internal bool AnyUnproven
    {
        get
        {
            lock (_lock)
            {
                foreach (var slot in _slots)
                {
                    if (slot is { State: SlotState.Live, IsInUse: true, Proven: false })
                        return _slots.Length > 1;
                }

                return false;
            }
        }
    }

    /// <summary>
    /// Looks at connections that have not been proven; called about once a second. If the replies on one were not received since
    /// the last look, another connection without requests is ended, each in its turn.
    /// </summary>
    /// <returns>whether one was told to end</returns>
    internal bool EndOneThatKeepsOthersFromReceiving()
    {
        lock (_lock)
        {
            var stuck = false;
            for (var i = 0; i < _slots.Length; i++)
                stuck |= IsStuck(_slots[i]);
            if (!stuck || _ending)
                return false;
            for (var i = 1; i <= _slots.Length; i++)
            {
                var number = (_lastEnded + i) % _slots.Length;
                var slot = _slots[number];
                if (slot.State != SlotState.Live || Sockets.Unreceived(slot.Watch) != 0)
                    continue;
                _lastEnded = number;
                _server.Post(number % _loops, () =>
                {
                    if (slot.Connection is { IsIdle: true } connection)
                        connection.Close();
                });
                return true;
            }

            return false;
        }
    }

    private static bool IsStuck(Slot slot)
    {
        if (slot.State != SlotState.Live || slot.Proven || slot.Connection is not { } connection)
            return false;
        var answers = connection.Answers;
        var unreceived = Sockets.Unreceived(slot.Watch);
        // More answers than there can be requests: somebody received.
        if ((answers > 0 && unreceived <= 0) || answers > RequestsOfConnection)
            slot.Proven = true;
        var standsStill = !slot.Proven && unreceived > 0 && (answers, unreceived) == slot.AtLastLook;
        slot.AtLastLook = (answers, unreceived);
        return standsStill;
    }
}
