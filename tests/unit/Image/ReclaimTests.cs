using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;
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
        }

        // Two times what may wait for a commit, and what the file grows ahead of need.
        Assert.InRange(run.Storage.Length, Megabyte, 300L * Megabyte);
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void Clusters_that_become_free_during_an_allocation_are_found_again()
    {
        var image = OneImage.Make("cluster_size=512,refcount_bits=64", "4M", "write -P 1 0 1M");
        for (var seed = 1; seed <= 60; seed++)
        {
            using var run = new OneImage(image.Copy(), seed: seed);
            Assert.Equal(0, run.Discard(0, Megabyte));
            var group = TaskGroup.Rent();
            group.Add(run.Image.FlushAsync());
            for (var piece = 0; piece < 16; piece++)
                group.Add(run.WriteAsync(Megabyte + (piece * 32768L), 32768, 2));
            Assert.Equal(0, run.Loop.RunUntilComplete(group.WaitAsync()));
            Assert.Equal(0, run.Flush());
            Settle(run);

            // All of it fits into what was freed.
            var before = run.Storage.Length;
            Assert.Equal((0, 0), (run.Write(2 * Megabyte, Megabyte * 3 / 4, 3), run.Flush()));
            Assert.Equal((seed, 0), (seed, run.Close().Leaks));
            Assert.True(run.Storage.Length <= image.Length + (640 << 10), $"seed {seed}: {image.Length} bytes have become {run.Storage.Length} (before the last write {before})");
        }
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
