using System.Threading;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Change;

/// <summary>
/// Keeps changes of a disk away from a read-modify-write: it waits for those that began before it, and those that
/// begin while it is about take turns with it. Without one about, a change costs nothing but its epoch.
/// </summary>
internal sealed class WriteTurns(RequestEpochs epochs)
{
    private readonly AsyncLock _turn = new();
    private volatile int _exclusive;
    private int _outOfTurn;

    /// <summary>Whether a read-modify-write is about: direct writes of other loops must go through the home loop. Any loop.</summary>
    public bool IsExclusive => _exclusive != 0;

    /// <summary>Begins something that changes the disk; hand the result to <see cref="EndChange"/>.</summary>
    public async LoopTask<(int Parity, bool InTurn)> BeginChangeAsync()
    {
        var parity = epochs.Enter(0);
        if (_exclusive == 0)
        {
            _outOfTurn++;
            return (parity, false);
        }

        await _turn.EnterAsync();
        return (parity, true);
    }

    public void EndChange((int Parity, bool InTurn) change)
    {
        epochs.Exit(0, change.Parity);
        if (change.InTurn)
        {
            _turn.Exit();
            return;
        }

        _outOfTurn--;
        Invariant.Holds(_outOfTurn >= 0, "a change of the disk ends once, and only if it has begun", _outOfTurn);
    }

    /// <summary>Completes when no other change is in progress, and none begins until <see cref="EndExclusive"/>. Not from inside a
    /// change.</summary>
    public async LoopTask<int> BeginExclusiveAsync()
    {
        Interlocked.Increment(ref _exclusive);
        await epochs.WaitForQuietAsync();
        var error = await _turn.EnterAsync();
        var others = _outOfTurn;
        if (others != 0)
            EndExclusive();
        Invariant.Holds(others == 0, "no other change is in progress in a read-modify-write: it would be undone", others);
        return error;
    }

    public void EndExclusive()
    {
        Invariant.Holds(_exclusive > 0, "a read-modify-write ends once, and only if it has begun", _exclusive);
        _turn.Exit();
        Interlocked.Decrement(ref _exclusive);
    }
}
