using Qcow2Blk.Image.Log;
using Xunit;

namespace Qcow2Blk.Tests.Image;

public sealed class RecentClustersTests
{
    [Theory]
    [InlineData(0, 1)]
    [InlineData(65535, 3)]
    [InlineData(1L << 40, 65536)]
    [InlineData(5, 100_000)]
    public void What_was_added_is_found_until_all_is_cleared(long first, long count)
    {
        var recent = new RecentClusters();
        Assert.False(recent.Contains(first));
        recent.Add(first, count);
        var more = new RecentClusters();
        more.AddAll(recent);
        for (var cluster = first; cluster < first + count; cluster++)
            Assert.True(recent.Contains(cluster) && more.Contains(cluster));
        recent.Clear();
        Assert.False(recent.Contains(first));
        Assert.True(more.Contains(first));
    }

    [Fact]
    public void A_neighbour_is_not_taken_for_it()
    {
        var recent = new RecentClusters();
        recent.Add(100, 10);
        Assert.False(recent.Contains(99) || recent.Contains(110));
    }
}
