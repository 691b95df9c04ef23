using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>
/// A loop for tests: one seed decides what happens next, so that a failure comes back whenever its seed does.
/// Posted work keeps its order, as on the event loop; completions come in any order; time is virtual.
/// </summary>
/// <remarks>It is the current loop of its thread from construction until it is disposed.</remarks>
internal sealed class SimulatedLoop : LoopScheduler, IDisposable
{
    /// <summary>More steps than any test takes: what is still busy then waits in circles (a timer that rearms itself).</summary>
    private const long StepLimit = 200_000_000;

    private readonly LoopScheduler? _before;
    private readonly Queue<Action> _posted = new();
    private readonly List<Action> _completions = [];
    private readonly ConcurrentQueue<Action> _foreign = new();
    private readonly PriorityQueue<ManualSource<int>, (long Due, long Order)> _delays = new();
    private readonly List<Exception> _unobserved = [];
    private long _delayOrder;

    public SimulatedLoop(int seed)
    {
        Random = new Random(seed);
        _before = Enter(this);
    }

    /// <summary>The only source of chance of a simulated run; whoever draws from it on the loop stays reproducible.</summary>
    public Random Random { get; }

    /// <summary>Virtual milliseconds since the loop began.</summary>
    public long Now { get; private set; }

    public override void Post(Action work) => _posted.Enqueue(work);

    public override void PostFromAnyThread(Action work) => _foreign.Enqueue(work);

    public override LoopTask<int> DelayAsync(int milliseconds)
    {
        var source = ManualSource<int>.Rent();
        var task = source.Task;
        _delays.Enqueue(source, (Now + milliseconds, _delayOrder++));
        return task;
    }

    public override LoopTask<int> OffloadAsync(IOffloadWork work)
    {
        var source = ManualSource<int>.Rent();
        var task = source.Task;
        Complete(() => source.SetResult(work.Execute()));
        return task;
    }

    public override void Unobserved(Exception error) => _unobserved.Add(error);

    /// <summary>Runs <paramref name="completion"/> some time later: before or after any other pending one.</summary>
    public void Complete(Action completion) => _completions.Add(completion);

    /// <summary>Starts <paramref name="work"/> on the loop and runs the loop until it has ended.</summary>
    public int Run(Func<LoopTask<int>> work)
    {
        ArgumentNullException.ThrowIfNull(work);
        return RunUntilComplete(work());
    }

    /// <summary>Runs the loop until <paramref name="task"/> has ended; its result, or the exception it ended with.</summary>
    public T RunUntilComplete<T>(LoopTask<T> task)
    {
        for (long step = 0; !task.IsCompleted; step++)
        {
            if (step == StepLimit)
                throw new InvalidOperationException($"still not complete after {StepLimit} steps: something waits in circles");
            if (Step())
                continue;
            ThrowUnobserved();
            throw new InvalidOperationException("deadlock: the task is not complete, yet nothing is pending");
        }

        ThrowUnobserved();
        return task.GetAwaiter().GetResult();
    }

    /// <summary>Runs until nothing is pending, but for delays.</summary>
    public void RunUntilIdle()
    {
        while (_posted.Count + _completions.Count + _foreign.Count > 0)
            Step();
        ThrowUnobserved();
    }

    /// <summary>Lets one thing happen; false if nothing is pending.</summary>
    public bool Step()
    {
        while (_foreign.TryDequeue(out var work))
            _posted.Enqueue(work);

        // Delays are rare beside I/O: one draw in 64 lets time overtake the pending completions.
        var total = _posted.Count + _completions.Count;
        if (_delays.Count > 0 && (total == 0 || Random.Next(64) == 0))
            ExpireDelay();
        else if (total == 0)
            return false;
        else if (_posted.Count > 0 && (_completions.Count == 0 || Random.Next(2) == 0))
            _posted.Dequeue()();
        else
            TakeCompletion()();
        return true;
    }

    public void Dispose() => Enter(_before);

    private void ExpireDelay()
    {
        _delays.TryDequeue(out var source, out var priority);
        Now = Math.Max(Now, priority.Due);
        source!.SetResult(0);
    }

    private Action TakeCompletion()
    {
        var index = Random.Next(_completions.Count);
        var completion = _completions[index];
        _completions[index] = _completions[^1];
        _completions.RemoveAt(_completions.Count - 1);
        return completion;
    }

    private void ThrowUnobserved()
    {
        if (_unobserved.Count > 0)
            throw new AggregateException("a task that nobody awaited failed", _unobserved);
    }
}
