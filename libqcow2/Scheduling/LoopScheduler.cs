using System;
using Qcow2Blk.Buffers;

namespace Qcow2Blk.Scheduling;

/// <summary>
/// What asynchronous code needs of the loop it runs on. The event loop is one; tests have a deterministic one
/// that completes things in an order drawn from a seed.
/// </summary>
internal abstract class LoopScheduler
{
    [ThreadStatic]
    private static LoopScheduler? s_current;

    /// <summary>The loop of the calling thread.</summary>
    public static LoopScheduler Current =>
        s_current ?? throw new InvalidOperationException("this thread runs no loop");

    /// <summary>Whether the calling thread runs this loop.</summary>
    internal bool IsCurrent => ReferenceEquals(s_current, this);

    /// <summary>Native buffers of this loop.</summary>
    public NativeBufferPool Buffers { get; } = new();

    /// <summary>Runs <paramref name="work"/> later on this loop, never on the caller's stack. Loop thread only.</summary>
    public abstract void Post(Action work);

    /// <summary>Runs <paramref name="work"/> on this loop. Any thread.</summary>
    public abstract void PostFromAnyThread(Action work);

    /// <summary>Completes on this loop after <paramref name="milliseconds"/>.</summary>
    public abstract LoopTask<int> DelayAsync(int milliseconds);

    /// <summary>Runs computing work (inflate) off the loop; completes on the loop with its result.</summary>
    public abstract LoopTask<int> OffloadAsync(IOffloadWork work);

    /// <summary>An exception that nobody awaits: a bug. The default ends the process, as data may be at stake.</summary>
    public virtual void Unobserved(Exception error) =>
        Environment.FailFast("unobserved failure on a loop", error);

    /// <summary>Makes this the loop of the calling thread; returns the one it replaces.</summary>
    public static LoopScheduler? Enter(LoopScheduler? scheduler)
    {
        var before = s_current;
        s_current = scheduler;
        return before;
    }
}

/// <summary>Work for a helper thread: touches only native memory and its own fields, never loop state.</summary>
internal interface IOffloadWork
{
    int Execute();
}
