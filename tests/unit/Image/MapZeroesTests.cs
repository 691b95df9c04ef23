using Qcow2Blk.Image;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>A range that is said to read as zeroes does, and sparse ranges are known to.</summary>
public sealed class MapZeroesTests
{
    private const int Cluster = 65536;
    private const int Megabyte = 1 << 20;

    [Fact]
    public void An_image_without_tables_is_all_zeroes()
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "4G"));
        Assert.True(Zeroes(run, 0, 4096));
        Assert.True(Zeroes(run, (4L << 30) - Megabyte, Megabyte));
    }

    [Fact]
    public void Holes_zero_clusters_and_discarded_clusters_are_zeroes_and_data_is_not()
    {
        using var run =
            new OneImage(OneImage.Make("cluster_size=65536", "8M", "write -P 1 0 1M", "write -z 1M 64k", "write -P 2 1088k 64k"));
        Assert.Equal(0, run.Write(2 * Megabyte, Cluster, 3)); // loads the tables
        Assert.Equal(0, run.Discard(0, Cluster));
        Assert.Equal(0, run.Zero(Cluster, Cluster, ZeroFlags.None));

        Assert.True(Zeroes(run, 0, 2 * Cluster));
        Assert.False(Zeroes(run, Cluster, Cluster + 512));
        Assert.True(Zeroes(run, Megabyte, Cluster));
        Assert.False(Zeroes(run, Megabyte, 2 * Cluster));
        Assert.True(Zeroes(run, 4 * Megabyte, Megabyte));
        Assert.False(Zeroes(run, 2 * Megabyte, 512));
        foreach (var cluster in new[] { 0, 1, 16, 64 })
            Assert.Equal(0, run.Expect(cluster * Cluster, Cluster, 0));
    }

    [Fact]
    public void Compressed_clusters_are_not_taken_for_zeroes()
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "8M", "write -c -P 7 0 64k"));
        Assert.Equal(0, run.Write(Megabyte, 512, 1));
        Assert.False(Zeroes(run, 0, 512));
    }

    [Fact]
    public void An_overlay_hides_its_backing_image_only_with_zero_clusters()
    {
        var backing = OneImage.Make("cluster_size=65536", "4M", "write -P 5 1M 1M");
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "8M", "write -P 1 3M 64k"), backing);
        Assert.Equal(0, run.Write(3 * Megabyte, 512, 1));
        Assert.Equal(0, run.Zero(Megabyte, Cluster, ZeroFlags.MayUnmap));
        Assert.Equal(0, run.Expect(Megabyte + Cluster, 512, 5)); // loads the tables of the backing image

        Assert.True(Zeroes(run, 0, Cluster));
        Assert.True(Zeroes(run, Megabyte, Cluster));
        Assert.False(Zeroes(run, Megabyte + Cluster, 512));
        Assert.True(Zeroes(run, 4 * Megabyte, Megabyte)); // past the end of the backing image
        Assert.False(Zeroes(run, (4 * Megabyte) - 512, 1024)); // across its end: left to those who look closer
    }

    private static bool Zeroes(OneImage run, long offset, int length)
    {
        var parity = run.Image.Epochs.Enter(0);
        var result = run.Image.TryMapZeroes(offset, length);
        run.Image.Epochs.Exit(0, parity);
        return result;
    }
}
