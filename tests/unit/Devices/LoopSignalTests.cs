using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A loop that says something to code outside does none of that code's work, and does not wait for it.</summary>
public sealed class LoopSignalTests
{
    [Fact]
    public async Task What_waits_goes_on_in_another_thread_than_the_loop()
    {
        using var signal = new LoopSignal();
        var after = 0;
        var waiting = WaitAsync();
        var loop = 0;
        var thread = new Thread(() =>
        {
            loop = Environment.CurrentManagedThreadId;
            signal.Set();
        });

        thread.Start();
        thread.Join();
        await waiting;

        Assert.NotEqual(loop, after);
        Assert.True(after > 0);

        async Task WaitAsync()
        {
            await signal.Seen;
            after = Environment.CurrentManagedThreadId;
        }
    }

    [Fact]
    public async Task Setting_it_allocates_nothing_on_the_loop()
    {
        using var warm = new LoopSignal();
        using var signal = new LoopSignal();
        var waiting = AllocateAfterAsync(signal.Seen);
        warm.Set();
        var before = GC.GetAllocatedBytesForCurrentThread();

        signal.Set();

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(100, (await waiting).Length);
    }

    private static async Task<byte[]> AllocateAfterAsync(Task seen)
    {
        await seen;
        return new byte[100];
    }

    [Fact]
    public void Loop_may_be_late()
    {
        var signal = new LoopSignal();
        signal.Dispose();
        signal.Set();
        Assert.False(signal.Seen.IsCompleted);
    }
}
