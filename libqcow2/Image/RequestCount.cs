using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image;

/// <summary>Counts the requests in progress that a disk must wait for before it frees what they use. Belongs to the home loop.</summary>
internal sealed class RequestCount
{
    private readonly WaitQueue _ended = new();
    private int _inProgress;

    public void Begin() => _inProgress++;

    /// <summary>Whether none is in progress.</summary>
    public bool IsZero => _inProgress == 0;

    public void End()
    {
        Invariant.Holds(_inProgress > 0, "a request ends once, and only if it has begun", _inProgress);
        if (--_inProgress == 0)
            _ended.WakeAll();
    }

    /// <summary>Completes when none is in progress. Whoever waits sees to it that none begins.</summary>
    public async LoopTask<int> WaitForEndAsync()
    {
        while (_inProgress > 0)
            await _ended.WaitAsync();
        return 0;
    }
}
