using System;
using System.Runtime.CompilerServices;

namespace Qcow2Blk.Scheduling;

/// <summary>
/// What an asynchronous method of the engine returns. It belongs to the thread of one loop: no locks, no
/// thread pool, continuations run inline on the completing loop, and its state comes from a pool, so that
/// nothing is allocated in steady state. Await it exactly once.
/// </summary>
/// <remarks>
/// I/O methods return <c>LoopTask&lt;int&gt;</c> in the kernel's convention: 0 or a count on success, a
/// negative errno on failure. Exceptions mean a bug or a refused open, never an I/O error.
/// </remarks>
[AsyncMethodBuilder(typeof(LoopTaskMethodBuilder<>))]
internal readonly struct LoopTask<T>
{
    private readonly LoopTaskSource<T>? _source;
    private readonly T _result;

    public LoopTask(T result)
    {
        _source = null;
        _result = result;
    }

    public LoopTask(LoopTaskSource<T> source)
    {
        _source = source;
        _result = default!;
    }

    public bool IsCompleted => _source is null || _source.IsCompleted;

    public Awaiter GetAwaiter() => new(_source, _result);

    /// <summary>Lets the task run on; its result is dropped when it comes, an exception goes to the scheduler.</summary>
    public void Forget() => _source?.OnCompleted(static source => source.Drop());

    /// <summary>Hands the result to <paramref name="sink"/>, at once if it already exists.</summary>
    public void CompleteInto(ICompletionSink<T> sink)
    {
        ArgumentNullException.ThrowIfNull(sink);
        if (_source is null)
            sink.Completed(_result);
        else
            _source.OnCompleted(sink);
    }

    public readonly struct Awaiter : ICriticalNotifyCompletion
    {
        private readonly LoopTaskSource<T>? _source;
        private readonly T _result;

        internal Awaiter(LoopTaskSource<T>? source, T result)
        {
            _source = source;
            _result = result;
        }

        public bool IsCompleted => _source is null || _source.IsCompleted;

        public T GetResult() => _source is null ? _result : _source.TakeResult();

        public void OnCompleted(Action continuation) => _source!.OnCompleted(continuation);

        public void UnsafeOnCompleted(Action continuation) => _source!.OnCompleted(continuation);
    }
}

/// <summary>Receives the result of a <see cref="LoopTask{T}"/> without an await.</summary>
internal interface ICompletionSink<in T>
{
    void Completed(T result);
}
