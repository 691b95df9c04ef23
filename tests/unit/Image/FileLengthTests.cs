using System.IO;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared.Simulation;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>The file is never cut below what a guest has written, nor by what was meant to make it longer.</summary>
public sealed class FileLengthTests
{
    private const int Megabyte = 1 << 20;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void In_place_write_past_the_end_of_a_truncated_image_survives_the_close(bool allocatesToo)
    {
        var image = OneImage.Make("cluster_size=65536", "8M", "write -P 1 0 4M");
        image.SetLength(image.Length - (2 * Megabyte));
        for (var seed = 1; seed <= 10; seed++)
        {
            using var run = new OneImage(image.Copy(), seed: seed);
            Assert.Equal(0, run.Write(4 * Megabyte - 131072, 65536, 2));
            if (allocatesToo)
                Assert.Equal(0, run.Write(6 * Megabyte, 65536, 3));
            Assert.Equal(0, run.Flush());

            Assert.Equal(0, run.Loop.Run(run.Image.CloseAsync));

            using var again = new OneImage(run.Storage.Content);
            Assert.Equal(0, again.Expect(4 * Megabyte - 131072, 65536, 2));
            Assert.Equal(allocatesToo ? 0 : 1, again.Expect(6 * Megabyte, 65536, 3));
        }
    }

    [Fact]
    public void Growth_over_clusters_that_are_in_use_past_the_end_of_a_truncated_image_is_not_cut_off_again()
    {
        const int cluster = 65536;
        var image = OneImage.Make("cluster_size=65536", "8M", "write -P 1 0 1M");
        image.SetLength(image.DataCluster(12));
        using var run = new OneImage(image.Copy());
        Assert.Equal((0, 0), (run.Discard(12 * cluster, cluster), run.Flush()));
        run.Loop.RunUntilComplete(run.Loop.DelayAsync(20));
        Assert.Equal(0, run.Write(6 * Megabyte, cluster, 2)); // takes the place of cluster 12: the file grows, by more than that
        Assert.InRange(run.Storage.Length, image.DataCluster(15) + cluster, long.MaxValue);
        Assert.Equal(0, run.Write(13 * cluster, 3 * cluster, 3)); // within the file now

        Assert.Equal(0, run.Loop.Run(run.Image.CloseAsync));

        using var again = new OneImage(run.Storage.Content);
        Assert.Equal((0, 0), (again.Expect(6 * Megabyte, cluster, 2), again.Expect(13 * cluster, 3 * cluster, 3)));
    }

    [Fact]
    public void Write_through_a_far_pointer_of_a_damaged_image_survives_the_close_and_does_not_delay_it()
    {
        const ulong copied = 1UL << 63;
        const long far = 1L << 40;
        var image = OneImage.Make("cluster_size=65536", "8M", "write -P 1 0 64k");
        image.Put64(image.L2Table(), copied | far);
        using var run = new OneImage(image);
        Assert.Equal(0, run.Write(0, 4096, 2));
        Assert.Equal(0, run.Write(6 * Megabyte, 65536, 3));
        Assert.Equal(0, run.Flush());

        Assert.Equal(0, run.Loop.Run(run.Image.CloseAsync));

        Assert.InRange(run.Storage.Content.Length, far + 4096, long.MaxValue);
        Assert.Equal(2, run.Storage.Content.Bytes(far, 1)[0]);
    }

    [Fact]
    public void Only_the_home_loop_writes_past_the_end_of_the_file()
    {
        var image = OneImage.Make("cluster_size=65536", "8M", "write -P 1 0 4M");
        image.SetLength(image.Length - (2 * Megabyte));
        using var run = new OneImage(image);
        Assert.Equal(0, run.Write(0, 4096, 1)); // prepares for writing, loads the tables

        var parity = run.Image.Epochs.Enter(0);
        Assert.True(run.Image.TryMapWrite(Megabyte, 4096, out var inside));
        Assert.InRange(inside.Offset, 1, image.Length - 4096);
        Assert.False(run.Image.TryMapWrite(4 * Megabyte - 65536, 4096, out _));
        run.Image.Epochs.Exit(0, parity);
    }

    [Fact]
    public void Growth_of_a_file_that_is_longer_than_known_does_not_cut_it()
    {
        using var directory = new TempDirectory();
        using var loop = new SimulatedLoop(1);
        var path = directory.File("file");
        File.WriteAllBytes(path, new byte[Megabyte]);
        Assert.Equal(0, FileStorage.Open(path, readOnly: false, direct: false, out var storage));
        using (storage)
        {
            using (var other = File.OpenWrite(path))
                other.SetLength(3 * Megabyte);

            Assert.Equal(0, loop.RunUntilComplete(storage!.SetLengthAsync(2 * Megabyte)));

            Assert.Equal((3 * Megabyte, 3 * Megabyte), (new FileInfo(path).Length, storage.Length));
            Assert.Equal(0, loop.RunUntilComplete(storage.SetLengthAsync(4 * Megabyte)));
            Assert.Equal((4 * Megabyte, 4 * Megabyte), (new FileInfo(path).Length, storage.Length));
        }
    }
}
