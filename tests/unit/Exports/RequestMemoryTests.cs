using System;
using System.Collections.Generic;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>What connections hold of their server's memory, and how they wait for it.</summary>
public sealed class RequestMemoryTests : IDisposable
{
    private const int MiB = 1 << 20;
    private const int Own = MemoryShare.OwnBytes;

    private readonly SimulatedLoop _loop = new(1);
    private readonly RequestMemory _memory = new(8 * MiB);
    private readonly List<string> _ready = [];

    public void Dispose() => _loop.Dispose();

    [Fact]
    public void What_is_its_own_a_connection_always_has()
    {
        var (greedy, small) = (Share("greedy"), Share("small"));
        Assert.True(greedy.TryUse(8 * MiB + Own));
        Assert.Equal(8 * MiB, _memory.Used);

        for (var i = 0; i < 4; i++)
            Assert.True(small.TryUse(Own / 4));

        Assert.False(small.TryUse(1));
        Assert.True(small.IsWaiting && _memory.IsWanted);
    }

    [Fact]
    public void Those_that_wait_get_it_in_the_order_in_which_they_came()
    {
        var (holder, first, second, third) = (Share("holder"), Share("first"), Share("second"), Share("third"));
        Assert.True(holder.TryUse(8 * MiB + Own));
        Assert.False(first.TryUse(6 * MiB));
        Assert.False(second.TryUse(2 * MiB));
        Assert.False(third.TryUse(2 * MiB));

        holder.Return(8 * MiB + Own);
        _loop.RunUntilIdle();

        Assert.Equal(["first", "second", "third"], _ready);
        Assert.False(_memory.IsWanted);
        Assert.True(first.TryUse(6 * MiB) && second.TryUse(2 * MiB) && third.TryUse(2 * MiB));
        Assert.Equal(7 * MiB, _memory.Used);
    }

    [Fact]
    public void Nobody_overtakes_a_large_request_that_waits()
    {
        var (holder, large, small) = (Share("holder"), Share("large"), Share("small"));
        Assert.True(holder.TryUse(4 * MiB + Own));
        Assert.False(large.TryUse(7 * MiB));

        Assert.False(small.TryUse(2 * MiB));

        holder.Return(4 * MiB + Own);
        _loop.RunUntilIdle();
        Assert.Equal(["large", "small"], _ready);
    }

    [Fact]
    public void Request_larger_than_all_of_it_is_served_alone()
    {
        var (holder, huge) = (Share("holder"), Share("huge"));
        Assert.True(holder.TryUse(2 * MiB));
        Assert.False(huge.TryUse(32 * MiB));

        holder.Return(2 * MiB);
        _loop.RunUntilIdle();

        Assert.True(huge.TryUse(32 * MiB));
        huge.Return(32 * MiB);
        Assert.Equal(0, _memory.Used);
    }

    [Fact]
    public void Connection_whose_own_bytes_come_back_goes_on_without_waiting_for_others()
    {
        var (holder, waiting) = (Share("holder"), Share("waiting"));
        Assert.True(holder.TryUse(8 * MiB + Own));
        Assert.True(waiting.TryUse(Own));
        Assert.False(waiting.TryUse(Own));

        waiting.Return(Own);

        Assert.True(waiting.TryUse(Own));
        Assert.False(waiting.IsWaiting || _memory.IsWanted);
    }

    [Fact]
    public void Connection_that_ends_in_line_lets_the_next_one_through()
    {
        var (holder, ended, next) = (Share("holder"), Share("ended"), Share("next"));
        Assert.True(holder.TryUse(6 * MiB + Own));
        Assert.False(ended.TryUse(7 * MiB));
        Assert.False(next.TryUse(2 * MiB));

        ended.Close();
        _loop.RunUntilIdle();

        Assert.Equal(["next"], _ready);
        Assert.True(next.TryUse(2 * MiB));
    }

    [Fact]
    public void What_comes_to_a_connection_that_has_just_ended_is_given_on()
    {
        var (holder, ended, next) = (Share("holder"), Share("ended"), Share("next"));
        Assert.True(holder.TryUse(8 * MiB + Own));
        Assert.False(ended.TryUse(8 * MiB));
        Assert.False(next.TryUse(8 * MiB));
        holder.Return(8 * MiB + Own);

        ended.Close();
        _loop.RunUntilIdle();

        Assert.Equal(["next"], _ready);
        Assert.True(next.TryUse(8 * MiB));
        next.Return(8 * MiB);
        Assert.Equal(0, _memory.Used);
    }

    [Fact]
    public void Connection_that_uses_little_again_keeps_nothing_of_the_common()
    {
        var share = Share("one");
        for (var i = 0; i < 512; i++)
            Assert.True(share.TryUse(4096));
        Assert.InRange(_memory.Used, MiB, 2 * MiB);

        for (var i = 0; i < 256; i++)
            share.Return(4096);

        Assert.Equal(0, _memory.Used);
    }

    [Fact]
    public void Connections_by_the_dozen_never_lose_a_byte_and_never_wait_for_each_other_for_ever()
    {
        for (var seed = 0; seed < 50; seed++)
        {
            var random = new Random(seed);
            var memory = new RequestMemory(8 * MiB);
            var ended = 0;
            for (var i = 0; i < 24; i++)
            {
                var held = new List<int>();
                var left = 40;
                MemoryShare share = null!;
                share = new MemoryShare(memory, _loop, () => Go());
                Go();

                void Go()
                {
                    while (left > 0)
                    {
                        var wanted = random.Next(1, 4) == 1 ? random.Next(1, 9 * MiB) : random.Next(1, 65536);
                        if (!share.TryUse(wanted))
                            return;
                        left--;
                        held.Add(wanted);
                        _loop.Complete(() => End(wanted));
                    }
                }

                void End(int bytes)
                {
                    held.Remove(bytes);
                    share.Return(bytes);
                    Go();
                    if (left == 0 && held.Count == 0)
                        ended++;
                }
            }

            _loop.RunUntilIdle();
            Assert.Equal((24, 0, false), (ended, memory.Used, memory.IsWanted));
        }
    }

    private MemoryShare Share(string name) => new(_memory, _loop, () => _ready.Add(name));
}
