using System;
using Qcow2Blk.Image;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// What was written once is not fresh: where a new cluster is not written whole, the rest of it is filled, whoever used it before
/// and however its bytes came there. No holes are punched here, so that old bytes stay in the file.
/// </summary>
public sealed class RecycledClusterTests
{
    private const int EIO = 5;
    private const int EOPNOTSUPP = 95;
    private const int Cluster = 65536;

    [Theory]
    [InlineData(65536, 1)]
    [InlineData(65536, 4096)]
    [InlineData(2 << 20, 1)]
    public void Cluster_that_was_allocated_written_and_freed_since_the_image_was_opened(int cluster, int alignment)
    {
        using var run = Open(OneImage.Make($"cluster_size={cluster}", "64M"), alignment);
        Assert.Equal(0, run.Write(0, 4 * cluster, 1));
        Assert.Equal(0, run.Flush());
        var place = run.Storage.Content.DataCluster(0);
        Drop(run, 0, 4 * cluster);

        Assert.Equal(0, run.Write((8L * cluster) + 4096, 4096, 2));

        Assert.Equal(0, run.Write(9L * cluster, 4096, 3));
        Assert.Equal(0, run.Write((11L * cluster) - 4096, 4096, 4));

        AssertOnly(run, 8L * cluster, cluster, 4096, 4096, 2);
        AssertOnly(run, 9L * cluster, cluster, 0, 4096, 3);
        AssertOnly(run, 10L * cluster, cluster, cluster - 4096, 4096, 4);
        AssertPlace(run, 8, place);
    }

    [Fact]
    public void Cluster_past_the_end_that_a_write_in_place_brought_into_the_file()
    {
        // The image was truncated: its last clusters are mapped, and past the end of the file.
        var image = OneImage.Make("cluster_size=65536", "16M", "write -P 1 0 1M");
        image.SetLength(image.DataCluster(12));
        using var run = Open(image);
        Assert.Equal(0, run.Write(12 * Cluster, 4 * Cluster, 9));
        var place = run.Storage.Content.DataCluster(12);
        Drop(run, 12 * Cluster, 4 * Cluster);

        Assert.Equal(0, run.Write((40L * Cluster) + 4096, 512, 2));

        AssertOnly(run, 40L * Cluster, Cluster, 4096, 512, 2);
        AssertPlace(run, 40, place);
    }

    [Fact]
    public void Cluster_whose_write_failed_half_way()
    {
        for (var seed = 1; seed <= 20; seed++)
        {
            using var run = Open(OneImage.Make("cluster_size=65536", "16M", "write -P 1 8M 512"), seed: seed);
            run.Storage.Fault = operation => operation.Kind switch
            {
                StorageOperationKind.Punch => EOPNOTSUPP,
                StorageOperationKind.Write => EIO,
                _ => 0,
            };
            Assert.Equal(-EIO, run.Write(0, 2 * Cluster, 9));
            run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Punch ? EOPNOTSUPP : 0;

            Assert.Equal(0, run.Write((4 * Cluster) + 4096, 512, 2));

            AssertOnly(run, 4 * Cluster, Cluster, 4096, 512, 2);
            Assert.Equal(0, run.Close().Leaks);
        }
    }

    [Fact]
    public void Zero_cluster_whose_write_failed_keeps_its_place()
    {
        using var run = Open(OneImage.Make("cluster_size=65536", "4M", "write -P 9 0 256k"));
        Assert.Equal(0, run.Zero(0, 4 * Cluster, ZeroFlags.None));
        run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Write ? EIO : 0;
        Assert.Equal(-EIO, run.Write(Cluster, 4096, 2));
        run.Storage.Fault = null;
        Assert.Equal(0, run.Expect(0, 4 * Cluster, 0));

        Assert.Equal(0, run.Write(2 << 20, Cluster, 3)); // is not given that place

        Assert.Equal((0, 0), (run.Expect(0, 4 * Cluster, 0), run.Expect(2 << 20, Cluster, 3)));
        Assert.Equal(0, run.Close().Leaks);
    }

    [Theory]
    [InlineData("cluster_size=65536", 65536)]
    [InlineData("cluster_size=4096,refcount_bits=64", 4096)]
    public void File_that_goes_on_behind_what_the_image_counts(string options, int cluster)
    {
        // As after a copy to a larger file or device: whatever was there before.
        var image = OneImage.Make(options, "16M");
        var past = new byte[8 << 20];
        Array.Fill(past, (byte)0xEE);
        image.Write((image.Length + cluster - 1) / cluster * cluster, past);
        using var run = Open(image);

        for (var at = 0; at < 4 << 20; at += 2 * cluster)
            Assert.Equal(0, run.Write(at + 512, 512, 3));

        for (var at = 0; at < 4 << 20; at += 2 * cluster)
        {
            AssertOnly(run, at, cluster, 512, 512, 3);
            Assert.Equal(0, run.Expect(at + cluster, cluster, 0));
        }

        run.Close();
    }

    [Fact]
    public void Cluster_that_becomes_a_table()
    {
        // With clusters of 512 bytes a table maps 32 KiB: what was data is taken for entries if it is not cleared.
        using var run = Open(OneImage.Make("cluster_size=512", "4M", "write -P 255 0 256k"));
        Drop(run, 0, 256 << 10);

        for (var table = 16; table < 100; table++)
            Assert.Equal(0, run.Write(table * 32768L, 512, 4));

        for (var table = 16; table < 100; table++)
            AssertOnly(run, table * 32768L, 32768, 0, 512, 4);
        Assert.Equal(0, run.Flush());
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void Zero_cluster_that_kept_its_place()
    {
        using var run = Open(OneImage.Make("cluster_size=65536", "4M", "write -P 9 0 256k"));
        Assert.Equal(0, run.Zero(0, 4 * Cluster, ZeroFlags.None));
        var place = run.Storage.Content.DataCluster(1);

        Assert.Equal(0, run.Write(Cluster + 4096, 512, 2));

        AssertOnly(run, Cluster, Cluster, 4096, 512, 2);
        AssertPlace(run, 1, place);
    }

    [Fact]
    public void Cluster_that_becomes_a_refcount_block()
    {
        // A block of two slices counts 8 MiB; the next one is made where old bytes are.
        var image = OneImage.Make("cluster_size=8192,refcount_bits=64", "32M");
        var past = new byte[10 << 20];
        Array.Fill(past, (byte)0xEE);
        image.Write(image.Length, past);
        using var run = Open(image);

        Assert.Equal(0, run.Write(0, 9 << 20, 3));
        Assert.Equal(0, run.Flush());
        Assert.Equal(0, run.Write(16 << 20, 6 << 20, 4));

        Assert.Equal((0, 0), (run.Expect(0, 9 << 20, 3), run.Expect(16 << 20, 6 << 20, 4)));
        Assert.Equal(0, run.Close().Leaks);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Cluster_over_a_backing_image_is_filled_from_it(bool recycled)
    {
        var below = OneImage.Make("cluster_size=65536", "2016k", "write -P 5 0 1M", "write -P 6 1984k 32k");
        using var run = Open(OneImage.Make("cluster_size=65536", "4M"), backing: below);
        Assert.Equal(0, run.Write(2 << 20, 4 * Cluster, 9));
        if (recycled)
            Drop(run, 2 << 20, 4 * Cluster);

        Assert.Equal(0, run.Write(4096, 512, 2));
        Assert.Equal(0, run.Write((17 * Cluster) + 4096, 512, 2)); // the base holds nothing there
        Assert.Equal(0, run.Write((31 * Cluster) + 4096, 512, 2)); // and ends in the middle of this one

        Assert.Equal((0, 0, 0), (run.Expect(0, 4096, 5), run.Expect(4096, 512, 2), run.Expect(4608, Cluster - 4608, 5)));
        AssertOnly(run, 17 * Cluster, Cluster, 4096, 512, 2);
        var half = (31 * Cluster) + (Cluster / 2);
        Assert.Equal((0, 0, 0),
            (run.Expect(31 * Cluster, 4096, 6), run.Expect((31 * Cluster) + 4608, (Cluster / 2) - 4608, 6),
                run.Expect(half, Cluster / 2, 0)));
        run.Close();
    }

    private static OneImage Open(SparseBytes image, int alignment = 1, int seed = 1, SparseBytes? backing = null)
    {
        var run = new OneImage(image, backing, seed, alignment: alignment);
        run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Punch ? EOPNOTSUPP : 0;
        return run;
    }

    /// <summary>Frees a range, and waits until its clusters can be used again.</summary>
    private static void Drop(OneImage run, long offset, int length)
    {
        Assert.Equal(0, run.Discard(offset, length));
        Assert.Equal(0, run.Flush());
        for (var wait = 0; wait < 4; wait++)
        {
            run.Loop.RunUntilComplete(run.Loop.DelayAsync(10));
            run.Loop.RunUntilIdle();
        }
    }

    /// <summary>All of a piece of the disk reads as zeroes but for one range.</summary>
    private static void AssertOnly(OneImage run, long start, int length, int from, int count, byte value) =>
        Assert.Equal((0, 0, 0),
            (run.Expect(start, from, 0), run.Expect(start + from, count, value),
                run.Expect(start + from + count, length - from - count, 0)));

    /// <summary>The guest cluster is where that other one was before: else the test has shown nothing.</summary>
    private static void AssertPlace(OneImage run, int cluster, long place)
    {
        Assert.Equal(0, run.Flush());
        Assert.Equal(place, run.Storage.Content.DataCluster(cluster));
        run.Close();
    }
}
