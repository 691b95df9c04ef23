using System.Collections.Generic;

namespace Qcow2Blk.Exports;

/// <summary>Work that may have to wait until others have given memory back.</summary>
internal interface IBudgetedWork
{
    /// <summary>Bytes that the work may need; the same each time it is asked.</summary>
    long WorkBytes { get; }

    /// <summary>Begins; its bytes are accounted for.</summary>
    void BeginWork();
}

/// <summary>
/// How much memory the requests of one loop may need at a time: those beyond wait in line. What one request needs by itself
/// is always allowed, however large. Belongs to its loop.
/// </summary>
internal sealed class WorkBudget(long bytes)
{
    private readonly Queue<IBudgetedWork> _waiting = new();
    private long _used;
    private bool _beginning;

    /// <summary>What requests may need at a time.</summary>
    public long Bytes => bytes;

    /// <summary>Requests in line.</summary>
    public int Waiting => _waiting.Count;

    /// <summary>Begins work now, or when there is room and all before it have begun.</summary>
    public void Begin(IBudgetedWork work)
    {
        if (_waiting.Count > 0 || !Fits(work))
        {
            _waiting.Enqueue(work);
            return;
        }

        _used += work.WorkBytes;
        work.BeginWork();
    }

    /// <summary>Work has ended: its bytes are free, and the next in line may begin.</summary>
    public void End(long workBytes)
    {
        _used -= workBytes;
        if (_beginning)
            return; // Work that ended at once: whoever began it goes on.
        _beginning = true;
        while (_waiting.TryPeek(out var next) && Fits(next))
        {
            _waiting.Dequeue();
            _used += next.WorkBytes;
            next.BeginWork();
        }

        _beginning = false;
    }

    private bool Fits(IBudgetedWork work) => _used == 0 || _used + work.WorkBytes <= bytes;
}
