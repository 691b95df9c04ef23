using System;
using System.Threading;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Tests.Storage;

/// <summary>A real event loop for one test: what runs on it does real I/O.</summary>
internal sealed class LoopOfThisTest : IDisposable
{
    private readonly OffloadPool _pool = new(1);
    private readonly EventLoop _loop;

    public LoopOfThisTest()
    {
        _loop = new EventLoop(0, _pool);
        _loop.Start();
    }

    public EventLoop Loop => _loop;

    public T Run<T>(Func<LoopTask<T>> work)
    {
        using var done = new ManualResetEventSlim();
        T result = default!;
        Exception? failure = null;
        _loop.PostFromAnyThread(() => RunAsync().Forget());
        done.Wait();
        return failure is null ? result : throw failure;

        async LoopTask<int> RunAsync()
        {
            try
            {
                result = await work();
            }
            catch (Exception error)
            {
                failure = error;
            }

            done.Set();
            return 0;
        }
    }

    public void Dispose()
    {
        _loop.Dispose();
        _pool.Dispose();
    }
}
