using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

public sealed class GeometryTests
{
    [Theory]
    [InlineData(9, 64, 512, 1)]
    [InlineData(12, 512, 4096, 1)]
    [InlineData(16, 8192, 4096, 16)]
    [InlineData(21, 262144, 4096, 512)]
    public void Tables_and_slices_divide_a_cluster(int clusterBits, int l2Entries, int sliceBytes, int slices)
    {
        var geometry = new Geometry(clusterBits, 1L << 40);

        Assert.Equal(1 << clusterBits, geometry.ClusterSize);
        Assert.Equal(l2Entries, geometry.L2Entries);
        Assert.Equal(sliceBytes, geometry.SliceBytes);
        Assert.Equal(sliceBytes / 8, geometry.SliceEntries);
        Assert.Equal(slices, geometry.SlicesPerL2);
        Assert.Equal(geometry.ClusterSize / 2, geometry.RefcountBlockEntries);
    }

    [Theory]
    [InlineData(9)]
    [InlineData(16)]
    [InlineData(21)]
    public void Indices_lead_back_to_the_cluster(int clusterBits)
    {
        var geometry = new Geometry(clusterBits, 1L << 61);
        var last = ((long)Limits.MaxL1Entries << geometry.L2Bits) - 1;
        foreach (var number in (long[])[0, 1, geometry.L2Entries - 1, geometry.L2Entries, 5L * geometry.L2Entries + 77, last])
        {
            var cluster = new GuestCluster(number);
            var l2 = geometry.L2Index(cluster);

            Assert.Equal(cluster, geometry.ClusterOf(geometry.StartOf(cluster) + geometry.ClusterMask));
            Assert.Equal(number, ((long)geometry.L1Index(cluster) << geometry.L2Bits) + l2);
            Assert.Equal(l2, geometry.SliceIndex(l2) * geometry.SliceEntries + geometry.IndexInSlice(l2));
            Assert.InRange(geometry.SliceIndex(l2), 0, geometry.SlicesPerL2 - 1);
        }
    }

    [Fact]
    public void Odd_size_is_cut_to_sectors_as_qemu_cuts_it()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1M");
        var image = new ImageBytes(path);
        image.Put64(HeaderField.Size, (1 << 20) - 1);
        image.Save();

        Assert.Equal(QemuImg.Info(path).GetProperty("virtual-size").GetInt64(), new Geometry(image.Header).DiskSize);
        Assert.Equal((1 << 20) - 512, new Geometry(image.Header).DiskSize);
    }

    [Theory]
    [InlineData(0, 1ul)]
    [InlineData(1, 3ul)]
    [InlineData(3, 255ul)]
    [InlineData(4, 65535ul)]
    [InlineData(6, ulong.MaxValue)]
    public void Largest_refcount_follows_from_the_order(int order, ulong max)
    {
        var geometry = new Geometry(16, 0, refcountOrder: order);

        Assert.Equal(max, geometry.RefcountMax);
        Assert.Equal(65536 * 8 >> order, geometry.RefcountBlockEntries);
    }
}
