using System;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Change;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>What keeps a freed cluster from being used while somebody may still read it, and cluster locks.</summary>
public sealed class RequestEpochsTests
{
    [Fact]
    public void Quiet_comes_when_every_earlier_request_has_ended_and_waits_for_no_later_one()
    {
        using var loop = new SimulatedLoop(1);
        var epochs = new RequestEpochs();
        var early = epochs.Enter(0);
        var other = epochs.Enter(3);
        Assert.Equal(2, epochs.InProgress);

        var quiet = epochs.WaitForQuietAsync();
        var late = epochs.Enter(0);
        Steps(loop);
        Assert.False(quiet.IsCompleted);
        epochs.Exit(0, early);
        Steps(loop);
        Assert.False(quiet.IsCompleted);
        epochs.Exit(3, other);

        Assert.Equal(0, loop.RunUntilComplete(quiet));
        Assert.Equal(1, epochs.InProgress);
        epochs.Exit(0, late);
    }

    [Fact]
    public void Of_several_who_wait_each_waits_for_what_began_before_it()
    {
        using var loop = new SimulatedLoop(1);
        var epochs = new RequestEpochs();
        var first = epochs.Enter(1);
        var quiet = epochs.WaitForQuietAsync();
        var second = epochs.Enter(2);
        var two = epochs.WaitForQuietAsync();
        var three = epochs.WaitForQuietAsync();

        epochs.Exit(1, first);
        Assert.Equal(0, loop.RunUntilComplete(quiet));
        Steps(loop);
        Assert.Equal((false, false), (two.IsCompleted, three.IsCompleted));

        epochs.Exit(2, second);
        Assert.Equal((0, 0), (loop.RunUntilComplete(two), loop.RunUntilComplete(three)));
        Assert.Equal(0, epochs.InProgress);
    }

    [Fact]
    public void Quiet_waits_for_threads_that_share_a_counter()
    {
        using var loop = new SimulatedLoop(1);
        var epochs = new RequestEpochs();
        var first = epochs.EnterShared();
        var second = epochs.EnterShared();
        var quiet = epochs.WaitForQuietAsync();
        var late = epochs.EnterShared();
        epochs.ExitShared(first);
        Steps(loop);
        Assert.False(quiet.IsCompleted);
        epochs.ExitShared(second);
        Assert.Equal(0, loop.RunUntilComplete(quiet));
        Assert.Equal(1, epochs.InProgress);
        epochs.ExitShared(late);
        Assert.Equal(0, epochs.InProgress);
    }

    [Fact]
    public void Request_does_not_begin_under_a_parity_that_was_seen_before_an_advance()
    {
        using var loop = new SimulatedLoop(1);
        var epochs = new RequestEpochs();
        var seen = epochs.Parity;
        Assert.Equal(0, loop.RunUntilComplete(epochs.WaitForQuietAsync()));

        Assert.False(epochs.TryEnter(1, seen));
        Assert.Equal(0, epochs.InProgress);
        Assert.True(epochs.TryEnter(1, epochs.Parity));
        Assert.Equal(1, epochs.InProgress);
        epochs.Exit(1, epochs.Parity);
    }

    private static void Steps(SimulatedLoop loop)
    {
        for (var step = 0; step < 50; step++)
            loop.Step();
    }

    [Fact]
    public void Nothing_is_freed_while_a_request_of_another_thread_uses_it()
    {
        using var loop = new SimulatedLoop(1);
        var epochs = new RequestEpochs();
        var freed = new bool[64];
        var (current, stop, used, wrong) = (0, false, 0L, 0L);
        var threads = Enumerable.Range(1, 3).Select(index => new Thread(() =>
        {
            while (!Volatile.Read(ref stop))
            {
                var parity = epochs.Enter(index);
                var mapped = Volatile.Read(ref current);
                for (var look = 0; look < 20; look++)
                {
                    if (Volatile.Read(ref freed[mapped]))
                        Interlocked.Increment(ref wrong);
                }

                epochs.Exit(index, parity);
                Interlocked.Increment(ref used);
            }
        })).ToArray();
        foreach (var thread in threads)
            thread.Start();

        var started = Stopwatch.GetTimestamp();
        long rounds = 0;
        for (; !IsEnough(started, rounds > 10 && Volatile.Read(ref used) > 100); rounds++)
        {
            var old = current;
            var next = (old + 1) % freed.Length;
            Volatile.Write(ref freed[next], false);
            Volatile.Write(ref current, next);
            loop.RunUntilComplete(epochs.WaitForQuietAsync());
            Volatile.Write(ref freed[old], true);
        }

        Volatile.Write(ref stop, true);
        foreach (var thread in threads)
            thread.Join();
        Assert.Equal(0, wrong);
        Assert.True(rounds > 10 && used > 100, $"{rounds} rounds, {used} requests");
        Assert.Equal(0, epochs.InProgress);
    }

    /// <summary>As much as goes into a second and a half; on a busy machine until there was anything to see.</summary>
    private static bool IsEnough(long started, bool sawEnough) =>
        Stopwatch.GetElapsedTime(started).TotalSeconds > (sawEnough ? 1.5 : 120);

    [Fact]
    public void Cluster_ranges_that_touch_exclude_each_other_and_only_those()
    {
        using var loop = new SimulatedLoop(1);
        var locks = new ClusterLocks();
        Assert.True(locks.TryEnter(At(10), 5));

        Assert.Equal((false, false, false, false),
            (locks.TryEnter(At(14), 1), locks.TryEnter(At(10), 1), locks.TryEnter(At(5), 6), locks.TryEnter(At(0), 100)));
        Assert.Equal((true, true), (locks.TryEnter(At(15), 5), locks.TryEnter(At(9), 1)));

        var waiting = locks.WaitForReleaseAsync();
        Assert.False(waiting.IsCompleted);
        locks.Exit(At(10), 5);
        Assert.Equal(0, loop.RunUntilComplete(waiting));
        Assert.True(locks.TryEnter(At(10), 5));
        Assert.Throws<InvariantBreach>(() => locks.Exit(At(10), 4));
    }

    [Fact]
    public void More_cluster_ranges_than_there_was_room_for_are_all_held()
    {
        using var loop = new SimulatedLoop(1);
        var locks = new ClusterLocks();
        for (var range = 0; range < 200; range++)
            Assert.True(locks.TryEnter(At(range * 10), 10));
        for (var range = 0; range < 200; range++)
            Assert.False(locks.TryEnter(At((range * 10) + 9), 1));
        for (var range = 0; range < 200; range++)
            locks.Exit(At(range * 10), 10);
        Assert.True(locks.TryEnter(At(0), 2000));
    }

    private static GuestCluster At(long number) => new(number);
}
