using System;
using System.Runtime.ExceptionServices;
using System.Threading;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Embedding;

/// <summary>Something that a loop does once for a thread that waits: opening, closing, listing. Not for the I/O path.</summary>
internal sealed class HomeCall(Func<LoopTask<int>> start) : IDisposable
{
    private readonly ManualResetEventSlim _ended = new();
    private ExceptionDispatchInfo? _failure;
    private int _result;

    public bool HasEnded => _ended.IsSet;

    /// <summary>On the loop.</summary>
    public void Begin() => RunAsync().Forget();

    /// <summary>Waits for the end, once.</summary>
    /// <returns>what the task has returned</returns>
    /// <exception cref="Exception">what it has thrown</exception>
    public int Wait()
    {
        _ended.Wait();
        Dispose();
        _failure?.Throw();
        return _result;
    }

    public void Dispose() => _ended.Dispose();

    private async LoopTask<int> RunAsync()
    {
        try
        {
            _result = await start();
        }
        catch (Exception error)
        {
            _failure = ExceptionDispatchInfo.Capture(error);
        }

        _ended.Set();
        return 0;
    }
}
