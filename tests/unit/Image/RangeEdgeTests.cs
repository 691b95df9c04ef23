using Qcow2Blk.Image;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>Zero writes and discards change what they were asked to, to the byte; a discard only whole clusters of that.</summary>
public sealed class RangeEdgeTests
{
    private const int Cluster = 65536;

    [Theory]
    [InlineData(1000, 3 * Cluster)]
    [InlineData(Cluster, (2 * Cluster) - 512)]
    [InlineData(Cluster - 512, Cluster + 1024)]
    [InlineData(100, 100)]
    [InlineData(Cluster - 100, 200)]
    public void Clusters_that_a_discard_covers_in_part_are_left_alone(int offset, int length)
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "16M", "write -P 1 0 1M"));
        var first = (offset + Cluster - 1) / Cluster * Cluster;
        var end = (offset + length) / Cluster * Cluster;

        Assert.Equal(0, run.Discard(offset, length));

        Assert.Equal((0, 0), (run.Expect(0, first, 1), run.Expect(end, (1 << 20) - end, 1)));
        if (end > first)
            Assert.Equal(0, run.Expect(first, end - first, 0));
        Assert.Equal(0, run.Close().Leaks);
    }

    [Theory]
    [InlineData(1000, 3 * Cluster, ZeroFlags.MayUnmap)]
    [InlineData(1000, 3 * Cluster, ZeroFlags.None)]
    [InlineData(Cluster - 512, Cluster + 1024, ZeroFlags.MayUnmap)]
    [InlineData(100, 100, ZeroFlags.None)]
    [InlineData(Cluster - 100, 200, ZeroFlags.MayUnmap)]
    public void Zero_write_ends_where_it_should(int offset, int length, ZeroFlags flags)
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "16M", "write -P 1 0 1M"));

        Assert.Equal(0, run.Zero(offset, length, flags));

        Assert.Equal((0, 0, 0),
            (run.Expect(0, offset, 1), run.Expect(offset, length, 0), run.Expect(offset + length, (1 << 20) - offset - length, 1)));
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void Last_cluster_of_the_disk_is_whole_for_a_range_that_reaches_the_end()
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "1000k", "write -P 1 0 1000k"));
        const int start = 15 * Cluster; // 40 KiB of it are on the disk

        Assert.Equal(0, run.Discard(start, (39 << 10)));
        Assert.Equal(0, run.Expect(start, 40 << 10, 1));
        Assert.Equal(0, run.Discard(start, 40 << 10));
        Assert.Equal((0, 0), (run.Expect(start, 40 << 10, 0), run.Expect(0, start, 1)));
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void Discard_of_version_2_does_not_show_what_is_below()
    {
        var below = OneImage.Make("cluster_size=65536", "1M", "write -P 9 0 1M");
        using var run = new OneImage(OneImage.Make("compat=0.10,cluster_size=65536", "1M", "write -P 8 0 256k"), below);

        Assert.Equal(0, run.Discard(0, 1 << 20));

        Assert.Equal((0, 0), (run.Expect(0, 256 << 10, 8), run.Expect(256 << 10, 768 << 10, 9)));
        run.Close();
    }
}
