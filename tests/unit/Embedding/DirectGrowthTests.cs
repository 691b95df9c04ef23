using System;
using System.IO;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Embedding;

/// <summary>See <c>DirectFileTests</c>: the last cluster may be being written when the file grows.</summary>
public sealed class DirectGrowthTests
{
    private const int Page = 4096;

    [Fact]
    public void File_that_is_written_directly_ends_with_a_block()
    {
        using var scene = new EmbeddedScene("16M", "cluster_size=512", ("cache", "none"));
        var before = new FileInfo(scene.Path).Length;
        using (var file = File.OpenWrite(scene.Path))
            file.SetLength(before + (before % Page == 0 ? 512 : 0));
        var image = scene.Open();
        if (image.Served.Disk!.File.BlockBytes == 1)
            return;
        Assert.Equal(512, scene.Write(0, 512, 1));
        Assert.Equal(0, Length() % Page);
        var (last, growths) = (Length(), 0);
        for (var offset = 2 << 20; offset < 14 << 20; offset += 512 * 1024)
        {
            Assert.Equal(512 * 1024, scene.Write(offset, 512 * 1024, 1));
            Assert.Equal(0, Length() % Page);
            growths += Length() > last ? 1 : 0;
            last = Length();
        }

        Assert.InRange(growths, 5, 100);
        Assert.Equal(0, scene.Close());

        long Length() => new FileInfo(scene.Path).Length;
    }

    [Fact]
    public void File_of_data_ends_with_a_block_or_with_the_disk()
    {
        using var folder = new TempDirectory();
        var data = folder.File("data");
        using var scene = new EmbeddedScene("16777728", $"cluster_size=512,data_file={data}", ("cache", "none"), ("data-file", data));
        using (var file = File.OpenWrite(data))
            file.SetLength((2 << 20) + 512);
        var image = scene.Open();
        if (image.Served.Disk!.File.BlockBytes == 1)
            return;
        Assert.Equal(512, scene.Write(0, 512, 1));
        Assert.Equal(0, new FileInfo(data).Length % Page);
        Assert.Equal(512, scene.Write((4 << 20) + 512, 512, 1));
        Assert.Equal((4 << 20) + Page, new FileInfo(data).Length);
        Assert.Equal(512, scene.Write(16 << 20, 512, 1));
        Assert.Equal(16777728, new FileInfo(data).Length);
        Assert.Equal(0, scene.Close());
    }
}
