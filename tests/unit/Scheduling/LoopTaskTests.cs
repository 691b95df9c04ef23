using System;
using System.Collections.Generic;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Scheduling;

/// <summary>The engine's own task type: results, exceptions, pooling.</summary>
public sealed class LoopTaskTests
{
    [Fact]
    public void Method_that_never_waits_is_complete_at_once_with_its_result()
    {
        using var loop = new SimulatedLoop(1);
        var task = SumAsync(new LoopTask<int>(2), new LoopTask<int>(3));
        Assert.True(task.IsCompleted);
        Assert.Equal(5, loop.RunUntilComplete(task));
    }

    [Fact]
    public void Method_that_waits_goes_on_when_each_part_is_there()
    {
        using var loop = new SimulatedLoop(1);
        ManualSource<int> first = ManualSource<int>.Rent(), second = ManualSource<int>.Rent();
        var task = SumAsync(first.Task, second.Task);
        Assert.False(task.IsCompleted);
        first.SetResult(20);
        Assert.False(task.IsCompleted);
        second.SetResult(22);
        Assert.True(task.IsCompleted);
        Assert.Equal(42, loop.RunUntilComplete(task));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Exception_reaches_whoever_awaits_through_all_layers(bool late)
    {
        using var loop = new SimulatedLoop(1);
        var gate = ManualSource<int>.Rent();
        var task = OuterAsync(late ? gate.Task : new LoopTask<int>(0));
        Assert.Equal(!late, task.IsCompleted);
        if (late)
            gate.SetResult(0);

        Assert.Equal("seen", Assert.Throws<InvalidOperationException>(() => loop.RunUntilComplete(task)).Message);

        // The boxes of a failed method serve the next ones.
        Assert.Equal(5, loop.RunUntilComplete(SumAsync(loop.DelayAsync(1), new LoopTask<int>(5))));
    }

    private static async LoopTask<int> OuterAsync(LoopTask<int> gate)
    {
        try
        {
            return await FailAsync(gate);
        }
        catch (ArithmeticException)
        {
            throw new InvalidOperationException("seen");
        }
    }

    private static async LoopTask<int> FailAsync(LoopTask<int> gate)
    {
        var value = await gate;
        return value == 0 ? throw new ArithmeticException("inner") : value;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Exception_that_nobody_awaits_is_told_to_the_loop(bool late)
    {
        using var loop = new SimulatedLoop(1);
        var gate = ManualSource<int>.Rent();
        FailAsync(late ? gate.Task : new LoopTask<int>(0)).Forget();
        if (late)
            gate.SetResult(0);
        var failure = Assert.Throws<AggregateException>(() => loop.RunUntilComplete(loop.DelayAsync(1)));
        Assert.IsType<ArithmeticException>(Assert.Single(failure.InnerExceptions));
    }

    [Fact]
    public void Hundred_thousand_waits_in_one_method_neither_overflow_the_stack_nor_allocate()
    {
        using var loop = new SimulatedLoop(1);
        Assert.Equal(100, loop.RunUntilComplete(CountAsync(100)));

        Assert.Equal(100_000, loop.RunUntilComplete(CountAsync(100_000)));
        var gate = ManualSource<int>.Rent();
        var task = ManyAsync(gate.Task, 1000);
        gate.SetResult(1);
        Assert.Equal(1000, loop.RunUntilComplete(task));
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var round = 0; round < 1000; round++)
        {
            gate = ManualSource<int>.Rent();
            task = ManyAsync(gate.Task, 10);
            gate.SetResult(1);
            Assert.True(task.IsCompleted);
            _ = loop.RunUntilComplete(task);
        }

#if !DEBUG
        // Debug builds make a class of every asynchronous method.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1000);
#else
        _ = before;
#endif
    }

    private static async LoopTask<int> CountAsync(int count)
    {
        var done = 0;
        while (done < count)
            done += 1 + await LoopScheduler.Current.DelayAsync(0);
        return done;
    }

    private static async LoopTask<int> ManyAsync(LoopTask<int> gate, int count)
    {
        var sum = await gate - 1;
        for (var index = 0; index < count; index++)
            sum += await SumAsync(new LoopTask<int>(0), new LoopTask<int>(1));
        return sum;
    }

    private static async LoopTask<int> SumAsync(LoopTask<int> first, LoopTask<int> second) => await first + await second;

    [Fact]
    public void Group_ends_with_its_last_member_and_the_first_error()
    {
        using var loop = new SimulatedLoop(1);
        ManualSource<int> first = ManualSource<int>.Rent(), second = ManualSource<int>.Rent();
        var group = TaskGroup.Rent();
        group.Add(new LoopTask<int>(7));
        group.Add(first.Task);
        group.Add(second.Task);
        Assert.Equal(2, group.Pending);
        var all = group.WaitAsync();
        second.SetResult(-28);
        Assert.False(all.IsCompleted);
        first.SetResult(-5);
        Assert.Equal(-28, loop.RunUntilComplete(all));

        // The group that comes out of the pool knows nothing of that.
        group = TaskGroup.Rent();
        group.Add(new LoopTask<int>(0));
        Assert.Equal(0, loop.RunUntilComplete(group.WaitAsync()));
        Assert.Equal(0, loop.RunUntilComplete(TaskGroup.Rent().WaitAsync()));
    }

    [Fact]
    public void Queue_wakes_in_order_of_arrival_and_later_not_on_the_wakers_stack()
    {
        using var loop = new SimulatedLoop(1);
        var queue = new WaitQueue();
        var woken = new List<int>();
        for (var index = 0; index < 4; index++)
            NoteAsync(queue, woken, index).Forget();

        queue.WakeOne();
        Assert.Empty(woken);
        loop.RunUntilIdle();
        Assert.Equal([0], woken);
        queue.WakeOne();
        queue.WakeAll();
        NoteAsync(queue, woken, 4).Forget(); // came after the call: stays
        loop.RunUntilIdle();

        Assert.Equal([0, 1, 2, 3], woken);
        Assert.False(queue.IsEmpty);
        queue.WakeAll();
        queue.WakeAll();
        loop.RunUntilIdle();
        Assert.Equal([0, 1, 2, 3, 4], woken);
        Assert.True(queue.IsEmpty);
    }

    private static async LoopTask<int> NoteAsync(WaitQueue queue, List<int> woken, int index)
    {
        await queue.WaitAsync();
        woken.Add(index);
        return 0;
    }

    [Fact]
    public void Lock_goes_to_who_came_first_and_never_to_two()
    {
        for (var seed = 1; seed <= 50; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var turn = new AsyncLock();
            var order = new List<int>();
            var inside = new int[1];
            var group = TaskGroup.Rent();
            for (var index = 0; index < 10; index++)
                group.Add(HoldAsync(turn, order, inside, index));
            Assert.False(turn.TryEnter());
            Assert.Equal(0, loop.RunUntilComplete(group.WaitAsync()));

            Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], order);
            Assert.True(turn.TryEnter());
            turn.Exit();
            Assert.Throws<InvariantBreach>(turn.Exit);
        }
    }

    private static async LoopTask<int> HoldAsync(AsyncLock turn, List<int> order, int[] inside, int index)
    {
        await turn.EnterAsync();
        var alone = ++inside[0] == 1;
        order.Add(index);
        await LoopScheduler.Current.DelayAsync(5);
        inside[0]--;
        turn.Exit();
        return alone ? 0 : -1;
    }
}
