using System;
using System.Diagnostics.CodeAnalysis;
using System.Threading;

namespace Qcow2Blk.Embedding;

/// <summary>A thread that waits for one request at a time.</summary>
[SuppressMessage("Design", "CA1001", Justification = "it lives as long as its thread, and nobody asks for the event's handle")]
internal sealed class WaitingThread
{
    [ThreadStatic]
    private static WaitingThread? s_current;

    private readonly ManualResetEventSlim _ended = new();
    private long _result;

    private WaitingThread() => HasEnded = () => _ended.IsSet;

    /// <summary>The calling one.</summary>
    public static WaitingThread Current => s_current ??= new WaitingThread();

    /// <summary>Whether the request has ended, for a loop that this thread runs meanwhile.</summary>
    public Func<bool> HasEnded { get; }

    /// <summary>The request has ended. Any thread.</summary>
    public void Set(long result)
    {
        _result = result;
        _ended.Set();
    }

    /// <summary>Waits for the end, and is ready for the next request then.</summary>
    public long Wait()
    {
        _ended.Wait();
        _ended.Reset();
        return _result;
    }
}
