using System;
using System.Runtime.ExceptionServices;

namespace Qcow2Blk.Scheduling;

/// <summary>The state behind a <see cref="LoopTask{T}"/>; whoever takes the result recycles it.</summary>
internal abstract class LoopTaskSource<T>
{
    private T _result = default!;
    private ExceptionDispatchInfo? _error;
    private object? _continuation;
    private bool _completed;

    public bool IsCompleted => _completed;

    public LoopTask<T> Task => new(this);

    /// <summary>Ends the task and runs whoever waits for it, on this stack.</summary>
    public void SetResult(T result)
    {
        _result = result;
        Finish();
    }

    public void SetException(Exception error)
    {
        _error = ExceptionDispatchInfo.Capture(error);
        Finish();
    }

    internal void OnCompleted(Action continuation) => Attach(continuation);

    internal void OnCompleted(ICompletionSink<T> sink) => Attach(sink);

    internal void OnCompleted(Action<LoopTaskSource<T>> observer) => Attach(observer);

    internal T TakeResult()
    {
        var result = _result;
        var error = _error;
        _result = default!;
        _error = null;
        _continuation = null;
        _completed = false;
        Recycle();
        error?.Throw();
        return result;
    }

    internal void Drop()
    {
        try
        {
            TakeResult();
        }
        catch (Exception error)
        {
            LoopScheduler.Current.Unobserved(error);
        }
    }

    /// <summary>Gives the object back to its pool; it must not be touched by the caller afterwards.</summary>
    protected abstract void Recycle();

    private void Attach(object continuation)
    {
        if (_completed)
        {
            Invoke(continuation);
            return;
        }

        _continuation = continuation;
    }

    private void Finish()
    {
        _completed = true;
        var continuation = _continuation;
        _continuation = null;
        if (continuation is not null)
            Invoke(continuation);
    }

    private void Invoke(object continuation)
    {
        switch (continuation)
        {
            case Action next: next(); break;
            case ICompletionSink<T> sink: sink.Completed(TakeResult()); break;
            case Action<LoopTaskSource<T>> observer: observer(this); break;
        }
    }
}
