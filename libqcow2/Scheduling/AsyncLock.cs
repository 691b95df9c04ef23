namespace Qcow2Blk.Scheduling;

/// <summary>A lock between tasks of one loop, first come first served.</summary>
internal sealed class AsyncLock
{
    private readonly WaitQueue _waiters = new();
    private bool _held;

    public bool TryEnter()
    {
        if (_held)
            return false;
        _held = true;
        return true;
    }

    /// <summary>Completes when the caller owns the lock.</summary>
    public LoopTask<int> EnterAsync() => TryEnter() ? new LoopTask<int>(0) : _waiters.WaitAsync();

    public void Exit()
    {
        Invariant.Holds(_held, "a lock is left only by who holds it");

        // Handed over, not released: a newcomer must not overtake the one that was woken.
        if (_waiters.IsEmpty)
            _held = false;
        else
            _waiters.WakeOne();
    }
}
