using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>Space that guests give back is used again, whether or not they flush, and whatever happens meanwhile.</summary>
public sealed class ReclaimTests
{
    private const int Megabyte = 1 << 20;

    [Theory]
    [InlineData("discard")]
    [InlineData("zero")]
    public void File_stays_small_when_a_client_writes_and_drops_without_ever_flushing(string drop)
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "64M"));
        for (var round = 0; round < 1280; round++)
        {
            var at = (long)(round % 64) * Megabyte;
            Assert.Equal(0, run.Write(at, Megabyte, 1));
            Assert.Equal(0, drop == "discard" ? run.Discard(at, Megabyte) : run.Zero(at, Megabyte, ZeroFlags.MayUnmap));

            // As a disk would: what waits for older requests looks again after a millisecond, which may not take a hundred rounds.
            run.Loop.RunUntilComplete(run.Loop.DelayAsync(1));
        }

        // Two times what may wait for a commit, and what the file grows ahead of need.
        Assert.InRange(run.Storage.Length, Megabyte, 300L * Megabyte);
        Assert.Equal(0, run.Close().Leaks);
    }

    [Theory]
    [InlineData("discard")]
    [InlineData("zero")]
    public void Space_is_back_a_second_after_it_was_dropped_though_nobody_flushes_and_the_loop_is_never_idle(string drop)
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "64M"));
        Assert.Equal(0, run.Write(0, 16 * Megabyte, 1));
        Assert.Equal(0, run.Flush());
        var full = run.Storage.Content.Allocated;
        var commits = run.Image.Commits;

        Assert.Equal(0, drop == "discard" ? run.Discard(0, 8 * Megabyte) : run.Zero(0, 8 * Megabyte, ZeroFlags.MayUnmap));
        var dropped = run.Loop.Now;
        while (run.Loop.Now < dropped + 1000)
        {
            Assert.Equal(0, run.Expect(12 * Megabyte, 4096, 1));
            run.Loop.RunUntilComplete(run.Loop.DelayAsync(10));
        }

        Assert.InRange(run.Storage.Content.Allocated, 0, full - (8 * Megabyte));
        Assert.InRange(run.Image.Commits - commits, 1, 2);
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void Clusters_that_become_free_during_an_allocation_are_found_again()
    {
        // Every 32 KiB an allocation must wait for a new refcount block.
        const int piece = 32768;
        var image = OneImage.Make("cluster_size=512,refcount_bits=64", "4M", "write -P 1 0 1M");
        for (var seed = 1; seed <= 200; seed++)
        {
            using var run = new OneImage(image.Copy(), seed: seed);
            var freed = image.DataCluster(0);
            var reused = false;
            run.Storage.Fault = operation =>
            {
                reused |= operation.Kind == StorageOperationKind.Write && operation.Offset < freed + piece
                    && operation.Offset + operation.Length > freed;
                return 0;
            };
            Assert.Equal(0, run.Discard(0, piece));
            var group = TaskGroup.Rent();
            group.Add(run.Image.FlushAsync());
            for (var writer = 0; writer < 3; writer++)
                group.Add(WriteManyAsync(run, Megabyte + (writer * 8L * piece), 8192, 32));
            Assert.Equal(0, run.Loop.RunUntilComplete(group.WaitAsync()));
            Settle(run);

            Assert.Equal(0, run.Write(2 * Megabyte, piece, 3));

            Assert.True(reused, $"seed {seed}: the place of the discarded clusters was not used again");
            Assert.Equal(0, run.Close().Leaks);
        }
    }

    private static async LoopTask<int> WriteManyAsync(OneImage run, long offset, int length, int count)
    {
        var error = 0;
        for (var index = 0; index < count && error == 0; index++)
            error = await run.WriteAsync(offset + ((long)index * length), length, 2);
        return error;
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
