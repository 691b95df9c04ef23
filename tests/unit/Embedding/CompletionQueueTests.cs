using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;
using Tmds.Linux;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Embedding;

/// <summary>Where the ends of requests wait: none is lost, none is told twice, and there is room for all that were accepted.</summary>
public sealed class CompletionQueueTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    [Fact]
    public void Completions_come_in_the_order_of_the_ends_and_once()
    {
        var queue = new CompletionQueue(8);
        for (var i = 0; i < 5; i++)
        {
            Assert.Equal(0, queue.Reserve());
            queue.Add(i, i * 10);
        }

        var got = new Completion[3];
        Assert.Equal(3, queue.Wait(got, 0));
        Assert.Equal([new Completion(0, 0), new Completion(1, 10), new Completion(2, 20)], got);
        Assert.Equal(2, queue.Wait(got, 0));
        Assert.Equal(new Completion(4, 40), got[1]);
        Assert.Equal(0, queue.Wait(got, 0));
        Assert.Equal(0, queue.Close());
    }

    [Fact]
    public void Place_is_taken_from_acceptance_until_the_completion_is_fetched()
    {
        var queue = new CompletionQueue(2);
        Assert.Equal((0, 0), (queue.Reserve(), queue.Reserve()));
        Assert.Equal(-Errno.EAGAIN, queue.Reserve());
        queue.Add(1, 1);
        Assert.Equal(-Errno.EAGAIN, queue.Reserve());
        Assert.Equal(1, queue.Wait(new Completion[4], 0));
        Assert.Equal(0, queue.Reserve());
        Assert.Equal(-Errno.EAGAIN, queue.Reserve());
        queue.Unreserve();
        Assert.Equal(0, queue.Reserve());
    }

    [Fact]
    public void Descriptor_is_readable_exactly_while_completions_wait()
    {
        var queue = new CompletionQueue(4);
        Assert.False(IsReadable(queue));
        for (var round = 0; round < 3; round++)
        {
            queue.Reserve();
            queue.Reserve();
            queue.Add(1, 1);
            queue.Add(2, 2);
            Assert.True(IsReadable(queue));
            queue.Wait(new Completion[1], 0);
            Assert.True(IsReadable(queue));
            queue.Wait(new Completion[1], 0);
            Assert.False(IsReadable(queue));
        }
    }

    [Fact]
    public void Descriptor_is_readable_when_it_is_asked_for_late()
    {
        var queue = new CompletionQueue(4);
        queue.Reserve();
        queue.Add(1, 1);
        Assert.True(IsReadable(queue));
        queue.Wait(new Completion[1], 0);
        Assert.False(IsReadable(queue));
    }

    [Fact]
    public void Queue_is_not_closed_while_a_request_will_end_in_it_and_not_twice()
    {
        var queue = new CompletionQueue(4);
        queue.Reserve();
        Assert.Equal(-Errno.EBUSY, queue.Close());
        queue.Add(1, 1);
        Assert.Equal(0, queue.Close());
        Assert.Equal(-Errno.EINVAL, queue.Close());
        Assert.Equal(-Errno.EINVAL, queue.Reserve());
        Assert.Equal(-Errno.ESHUTDOWN, queue.Wait(new Completion[1], 0));
    }

    [Fact]
    public async Task Thread_that_waits_is_woken_by_a_completion_and_by_the_end_of_the_queue()
    {
        var queue = new CompletionQueue(4);
        var first = Task.Run(() => queue.Wait(new Completion[1], -1), TestContext.Current.CancellationToken);
        await Task.Delay(50, TestContext.Current.CancellationToken);
        queue.Reserve();
        queue.Add(7, 7);
        Assert.Equal(1, await first.WaitAsync(s_patience, TestContext.Current.CancellationToken));
        var second = Task.Run(() => queue.Wait(new Completion[1], -1), TestContext.Current.CancellationToken);
        await Task.Delay(50, TestContext.Current.CancellationToken);
        Assert.Equal(0, queue.Close());
        Assert.Equal(-Errno.ESHUTDOWN, await second.WaitAsync(s_patience, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Time_is_over_when_none_comes() => Assert.Equal(0, new CompletionQueue(4).Wait(new Completion[1], 20));

    [Fact]
    public async Task Threads_that_add_and_threads_that_fetch_lose_and_double_nothing()
    {
        const int total = 40_000;
        var queue = new CompletionQueue(64);
        var seen = new int[total];
        var fetched = 0;
        var next = 0;
        var adders = Task.WhenAll(Run(2, () =>
        {
            while (Interlocked.Increment(ref next) - 1 is var mine && mine < total)
            {
                while (queue.Reserve() != 0)
                    Thread.Yield();
                queue.Add(mine, mine);
            }
        }));
        var fetchers = Task.WhenAll(Run(2, () =>
        {
            var got = new Completion[16];
            while (Volatile.Read(ref fetched) < total)
            {
                var count = queue.Wait(got, 10);
                for (var i = 0; i < count; i++)
                    Interlocked.Increment(ref seen[(int)got[i].Result]);
                Interlocked.Add(ref fetched, count);
            }
        }));
        await Task.WhenAll(adders, fetchers).WaitAsync(s_patience, TestContext.Current.CancellationToken);
        Assert.All(seen, times => Assert.Equal(1, times));
    }

    private static Task[] Run(int count, Action work)
    {
        var tasks = new Task[count];
        for (var i = 0; i < count; i++)
            tasks[i] = Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        return tasks;
    }

    private static unsafe bool IsReadable(CompletionQueue queue)
    {
        pollfd descriptor = new() { fd = queue.Watch(), events = POLLIN };
        return Poll.Wait(&descriptor, 1, 0) > 0;
    }
}
