using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// A cluster that was freed is somebody else's only after the commit that removed the last pointer to it, after every request that
/// began before, on any loop, and after its hole was punched.
/// </summary>
public sealed class FreedClusterTests
{
    private const int EIO = 5;
    private const int EOPNOTSUPP = 95;
    private const int Cluster = 65536;
    private const int Freed = 8 * Cluster;

    private static readonly SparseBytes s_image = OneImage.Make("cluster_size=65536", "16M", "write -P 1 0 512k");

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(RequestEpochs.MaximumLoops - 1)]
    public void Nothing_is_done_to_it_while_a_request_that_began_before_is_in_progress(int loop)
    {
        using var run = new OneImage(s_image.Copy());
        var place = run.Storage.Content.DataCluster(0);
        var began = run.Image.Epochs.Enter(loop);

        Assert.Equal(0, run.Discard(0, Freed));
        Assert.Equal(0, run.Flush());
        Settle(run);
        Assert.Equal(0, run.Write(8 << 20, 2 * Freed, 2));
        Assert.Equal(0, run.Flush());
        Settle(run);

        Assert.False(run.Storage.Content.Bytes(place, Freed).AsSpan().ContainsAnyExcept((byte)1), "the request would see other bytes");

        // One that begins now sees the new mapping: it is not waited for.
        var later = run.Image.Epochs.Enter(loop);
        run.Image.Epochs.Exit(loop, began);
        Settle(run);
        Assert.False(run.Storage.Content.Bytes(place, Freed).AsSpan().ContainsAnyExcept((byte)0), "no hole was punched");
        Assert.Equal(0, run.Write(4 << 20, Freed, 3));
        Assert.False(run.Storage.Content.Bytes(place, Freed).AsSpan().ContainsAnyExcept((byte)3), "the place was not used again");
        run.Image.Epochs.Exit(loop, later);
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void Request_that_began_during_the_wait_for_others_is_waited_for_by_those_freed_after_it()
    {
        using var run = new OneImage(s_image.Copy());
        var place = run.Storage.Content.DataCluster(0);
        var first = run.Image.Epochs.Enter(1);
        Assert.Equal(0, run.Discard(0, Freed / 2));
        Assert.Equal(0, run.Flush());
        Settle(run);
        var second = run.Image.Epochs.Enter(2);
        Assert.Equal(0, run.Discard(Freed / 2, Freed / 2));
        Assert.Equal(0, run.Flush());
        run.Image.Epochs.Exit(1, first);
        Settle(run);

        Assert.False(run.Storage.Content.Bytes(place, Freed / 2).AsSpan().ContainsAnyExcept((byte)0));
        Assert.False(run.Storage.Content.Bytes(place + (Freed / 2), Freed / 2).AsSpan().ContainsAnyExcept((byte)1));
        run.Image.Epochs.Exit(2, second);
        Settle(run);
        Assert.False(run.Storage.Content.Bytes(place + (Freed / 2), Freed / 2).AsSpan().ContainsAnyExcept((byte)0));
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void It_is_used_again_only_after_its_hole_was_punched()
    {
        for (var seed = 1; seed <= 60; seed++)
        {
            using var run = new OneImage(s_image.Copy(), seed: seed);
            var place = run.Storage.Content.DataCluster(0);
            var log = run.Storage.Log = new StorageLog();
            Assert.Equal(0, run.Discard(0, Freed));
            var group = TaskGroup.Rent();
            group.Add(run.Image.FlushAsync());
            for (var write = 0; write < 24; write++)
                group.Add(WriteLaterAsync(run, write * 2, (8 << 20) + (write * 2L * Cluster)));
            Assert.Equal(0, run.Loop.RunUntilComplete(group.WaitAsync()));

            var punched = long.MaxValue;
            foreach (var operation in log.Operations)
            {
                if (operation.Offset >= place + Freed || operation.Offset + operation.Length <= place)
                    continue;
                if (operation.Kind == StorageOperationKind.Punch)
                    punched = operation.Completed;
                else if (operation.Kind == StorageOperationKind.Write)
                    Assert.True(operation.Submitted > punched, $"seed {seed}: written at {operation.Submitted}, punched at {punched}");
            }

            Assert.Equal(0, run.Close().Leaks);
        }
    }

    [Theory]
    [InlineData(StorageOperationKind.Write)]
    [InlineData(StorageOperationKind.Flush)]
    public void It_stays_whole_when_the_commit_fails(StorageOperationKind failing)
    {
        for (var step = 0; step < 4; step++)
        {
            using var run = new OneImage(s_image.Copy());
            var place = run.Storage.Content.DataCluster(0);
            Assert.Equal(0, run.Discard(0, Freed));
            var count = 0;
            run.Storage.Fault = operation => operation.Kind == failing && count++ == step ? EIO : 0;
            if (run.Flush() == 0)
                break;
            Settle(run);
            run.Storage.Fault = null;
            var goesOn = failing == StorageOperationKind.Write;
            Assert.Equal(goesOn ? 0 : -EIO, run.Write(8 << 20, Freed, 2));
            Settle(run);

            Assert.False(run.Storage.Content.Bytes(place, Freed).AsSpan().ContainsAnyExcept((byte)1));
            if (!goesOn)
                continue;
            Assert.Equal(0, run.Flush());
            Settle(run);
            Assert.False(run.Storage.Content.Bytes(place, Freed).AsSpan().ContainsAnyExcept((byte)0));
            Assert.Equal(0, run.Close().Leaks);
        }
    }

    [Fact]
    public void It_is_not_used_again_before_a_commit()
    {
        using var run = new OneImage(s_image.Copy());
        var place = run.Storage.Content.DataCluster(0);
        Assert.Equal(0, run.Discard(0, Freed));
        Settle(run);

        Assert.Equal(0, run.Write(8 << 20, Freed, 2));

        Assert.False(run.Storage.Content.Bytes(place, Freed).AsSpan().ContainsAnyExcept((byte)1));
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void What_a_snapshot_still_uses_is_neither_punched_nor_used_again()
    {
        using var run = new OneImage(OneImage.Make(
            "cluster_size=65536", "16M", image => Qemu.Img("snapshot", "-c", "first", image), "write -P 1 0 512k"));
        var place = run.Storage.Content.DataCluster(0);
        Assert.Equal(0, run.Write(Cluster, Cluster, 2));
        Assert.Equal(0, run.Discard(2 * Cluster, Freed - (2 * Cluster)));
        Assert.Equal(0, run.Flush());
        Settle(run);
        Assert.Equal(0, run.Write(8 << 20, 2 * Freed, 3));

        Assert.False(run.Storage.Content.Bytes(place, Freed).AsSpan().ContainsAnyExcept((byte)1));
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void Close_waits_for_what_is_being_freed()
    {
        var punches = new List<long>();
        for (var seed = 1; seed <= 20; seed++)
        {
            using var run = new OneImage(s_image.Copy(), seed: seed);
            run.Storage.Fault = operation =>
            {
                if (operation.Kind == StorageOperationKind.Punch)
                    punches.Add(operation.Offset);
                return operation.Kind == StorageOperationKind.Punch && punches.Count % 2 == 0 ? EOPNOTSUPP : 0;
            };
            Assert.Equal(0, run.Discard(0, Freed));

            Assert.Equal(0, run.Close().Leaks);
            Assert.Equal(seed, punches.Count);
        }
    }

    [Theory]
    [InlineData("read")]
    [InlineData("write")]
    [InlineData("direct read")]
    [InlineData("direct write")]
    public void Request_whose_transfer_takes_long_neither_sees_nor_touches_what_comes_after(string request)
    {
        using var run = new OneImage(s_image.Copy());
        Assert.Equal(0, run.Write(15 << 20, Cluster, 7)); // loads the tables
        var place = run.Storage.Content.DataCluster(0);
        using var buffer = new TableBuffer(Freed);
        var data = buffer.Take(Freed);
        data.Span.Fill(9);
        run.Storage.Hold = operation => operation.Offset == place;
        var slow = request switch
        {
            "read" => run.Image.ReadAsync(0, data),
            "write" => run.Image.WriteAsync(0, data, forceUnitAccess: false),
            "direct read" => LoopTransfer.ReadAsync(run.Image, 0, data),
            _ => LoopTransfer.WriteAsync(run.Image, 0, data),
        };
        run.Loop.RunUntilIdle();
        run.Storage.Hold = null;
        Assert.Equal(0, run.Discard(0, Freed));
        Assert.Equal(0, run.Flush());
        Settle(run);
        Assert.Equal(0, run.Write(8 << 20, Freed, 3));

        run.Storage.Release();
        Assert.Equal(0, run.Loop.RunUntilComplete(slow));

        Assert.True(data.Span.IndexOf((byte)3) < 0, "the request got another cluster's bytes");
        Assert.True(run.Expect(8 << 20, Freed, 3) == 0, "the request wrote over another cluster");
        Assert.Equal(0, run.Close().Leaks);
    }

    private static async LoopTask<int> WriteLaterAsync(OneImage run, int milliseconds, long offset)
    {
        await run.Loop.DelayAsync(milliseconds);
        return await run.WriteAsync(offset, Cluster, 2);
    }

    /// <summary>Lets pass what a reclaim waits for.</summary>
    private static void Settle(OneImage run)
    {
        for (var wait = 0; wait < 4; wait++)
        {
            run.Loop.RunUntilComplete(run.Loop.DelayAsync(10));
            run.Loop.RunUntilIdle();
        }
    }
}
