using System;
using System.Runtime.CompilerServices;

namespace Qcow2Blk.Scheduling;

/// <summary>Builds <see cref="LoopTask{T}"/> from async methods; boxes of suspended methods are pooled per thread.</summary>
internal struct LoopTaskMethodBuilder<T>
{
    private LoopTaskSource<T>? _source;
    private T _result;

    public static LoopTaskMethodBuilder<T> Create() => default;

    public readonly LoopTask<T> Task => _source is null ? new LoopTask<T>(_result) : new LoopTask<T>(_source);

    public readonly void Start<TStateMachine>(ref TStateMachine stateMachine)
        where TStateMachine : IAsyncStateMachine => stateMachine.MoveNext();

    public readonly void SetStateMachine(IAsyncStateMachine stateMachine)
    {
        // Only the debug builds of the classic builders use this.
    }

    public void SetResult(T result)
    {
        if (_source is null)
            _result = result;
        else
            _source.SetResult(result);
    }

    public void SetException(Exception exception)
    {
        // A method that failed before it was ever suspended has no box yet.
        _source ??= ManualSource<T>.Rent();
        _source.SetException(exception);
    }

    public void AwaitOnCompleted<TAwaiter, TStateMachine>(ref TAwaiter awaiter, ref TStateMachine stateMachine)
        where TAwaiter : INotifyCompletion
        where TStateMachine : IAsyncStateMachine => awaiter.OnCompleted(Box(ref stateMachine));

    public void AwaitUnsafeOnCompleted<TAwaiter, TStateMachine>(ref TAwaiter awaiter, ref TStateMachine stateMachine)
        where TAwaiter : ICriticalNotifyCompletion
        where TStateMachine : IAsyncStateMachine => awaiter.UnsafeOnCompleted(Box(ref stateMachine));

    private Action Box<TStateMachine>(ref TStateMachine stateMachine)
        where TStateMachine : IAsyncStateMachine
    {
        if (_source is LoopTaskBox<TStateMachine, T> existing)
            return existing.MoveNext;

        // The builder is a field of the state machine: set it first, so that the copy in the box knows its box.
        var box = LoopTaskBox<TStateMachine, T>.Rent();
        _source = box;
        box.StateMachine = stateMachine;
        return box.MoveNext;
    }
}

internal sealed class LoopTaskBox<TStateMachine, T> : LoopTaskSource<T>
    where TStateMachine : IAsyncStateMachine
{
    [ThreadStatic]
    private static LoopTaskBox<TStateMachine, T>? s_free;

    private LoopTaskBox<TStateMachine, T>? _next;

    private LoopTaskBox() => MoveNext = () => StateMachine.MoveNext();

    public Action MoveNext { get; }

#pragma warning disable CA1051 // A field: MoveNext must work on the state machine itself, not on a copy.
    public TStateMachine StateMachine = default!;
#pragma warning restore CA1051

    public static LoopTaskBox<TStateMachine, T> Rent()
    {
        var box = s_free;
        if (box is null)
            return new LoopTaskBox<TStateMachine, T>();
        s_free = box._next;
        box._next = null;
        return box;
    }

    protected override void Recycle()
    {
        StateMachine = default!;
        _next = s_free;
        s_free = this;
    }
}
