using System;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image;

/// <summary>
/// Exclusive ranges of guest clusters: whoever changes the mapping of a cluster (allocating write, zero write,
/// discard) holds it. Few at a time, so a list. In-place writes and reads take none.
/// </summary>
internal sealed class ClusterLocks
{
    private readonly WaitQueue _released = new();
    private (long First, long End)[] _held = new (long, long)[32];
    private int _count;

    public bool TryEnter(long first, long count)
    {
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

    public void Exit(long first, long count)
    {
        for (var i = 0; i < _count; i++)
        {
            if (_held[i] != (first, first + count))
                continue;
            _held[i] = _held[--_count];
            _released.WakeAll();
            return;
        }

        throw new InvalidOperationException($"clusters {first}+{count} are not locked");
    }
}
