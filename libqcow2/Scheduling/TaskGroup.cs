using System;

namespace Qcow2Blk.Scheduling;

/// <summary>
/// Runs several I/O tasks side by side and waits for all of them. The result is the first negative errno, or 0.
/// Reusable after <see cref="WaitAsync"/> has completed; pooled per thread.
/// </summary>
internal sealed class TaskGroup : ICompletionSink<int>
{
    [ThreadStatic]
    private static TaskGroup? s_free;

    private TaskGroup? _next;
    private ManualSource<int>? _waiter;
    private int _pending;
    private int _error;

    private TaskGroup()
    {
    }

    /// <summary>How many tasks of the group still run.</summary>
    public int Pending => _pending;

    public static TaskGroup Rent()
    {
        var group = s_free;
        if (group is null)
            return new TaskGroup();
        s_free = group._next;
        group._next = null;
        return group;
    }

    public void Add(LoopTask<int> task)
    {
        _pending++;
        task.CompleteInto(this);
    }

    /// <summary>Completes when all have ended, with the first error or 0; the group is back in the pool then.</summary>
    public LoopTask<int> WaitAsync()
    {
        if (_pending == 0)
            return new LoopTask<int>(Finish());
        _waiter = ManualSource<int>.Rent();
        return _waiter.Task;
    }

    void ICompletionSink<int>.Completed(int result)
    {
        if (result < 0 && _error == 0)
            _error = result;
        if (--_pending > 0 || _waiter is null)
            return;
        var waiter = _waiter;
        _waiter = null;
        waiter.SetResult(Finish());
    }

    private int Finish()
    {
        var error = _error;
        _error = 0;
        _next = s_free;
        s_free = this;
        return error;
    }
}
