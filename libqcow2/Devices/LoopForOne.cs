using System;
using System.Threading;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices;

/// <summary>A loop that lives as long as one task.</summary>
internal static class LoopForOne
{
    /// <summary>Runs a task on a loop of its own, and waits for it.</summary>
    public static void Run(Func<LoopTask<int>> work)
    {
        using var offload = new OffloadPool(1);
        using var loop = new EventLoop(0, offload);
        using var ended = new ManualResetEventSlim();
        Exception? failure = null;
        loop.Start();
        loop.PostFromAnyThread(() => RunAsync().Forget());
        ended.Wait();
        if (failure is not null)
            throw failure;

        async LoopTask<int> RunAsync()
        {
            try
            {
                await work();
            }
            catch (Exception error)
            {
                failure = error;
            }

            ended.Set();
            return 0;
        }
    }
}
