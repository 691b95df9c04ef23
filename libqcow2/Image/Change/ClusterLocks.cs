using System;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Change;

/// <summary>
/// Exclusive ranges of guest clusters: whoever changes the mapping of a cluster (allocating write, zero write,
/// discard) holds it. Few at a time, so a list. In-place writes and reads take none.
/// </summary>
internal sealed class ClusterLocks
{
    private readonly WaitQueue _released = new();
    private (GuestCluster First, GuestCluster End)[] _held = new (GuestCluster, GuestCluster)[32];
    private int _count;

    /// <summary>Whether no range is held.</summary>
    public bool IsEmpty => _count == 0;

    public bool TryEnter(GuestCluster first, long count)
    {
        Invariant.Holds(first.Number >= 0 && count > 0, "a range of guest clusters that is locked is on the disk", first.Number, count);
        var end = first + count;
        for (var i = 0; i < _count; i++)
        {
            if (first < _held[i].End && _held[i].First < end)
                return false;
        }

        if (_count == _held.Length)
            Array.Resize(ref _held, _count * 2);
        _held[_count++] = (first, end);
        return true;
    }

    /// <summary>Completes when some range was released: look at the mapping again then, and try again.</summary>
    public LoopTask<int> WaitForReleaseAsync() => _released.WaitAsync();

    /// <summary>Whether all of the range is held as one; by whom is for the caller to know.</summary>
    public bool IsHeld(GuestCluster first, long count)
    {
        for (var i = 0; i < _count; i++)
        {
            if (_held[i].First <= first && first + count <= _held[i].End)
                return true;
        }

        return false;
    }

    public void Exit(GuestCluster first, long count)
    {
        var range = Array.IndexOf(_held, (first, first + count), 0, _count);
        Invariant.Holds(range >= 0, "guest clusters are unlocked as they were locked, by who holds them", first.Number, count);
        _held[range] = _held[--_count];
        _released.WakeAll();
    }
}
