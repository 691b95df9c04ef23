using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Whatever sectors of a step are on disk, the header says what it said before the edit or what it is to say.</summary>
public sealed class BitmapsExtensionEditTests : IDisposable
{
    private readonly Qcow2Blk.Tests.Shared.TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("", "")]
    [InlineData("cluster_size=4k", "")]
    [InlineData("cluster_size=1k", "")]
    [InlineData("", "base.qcow2")]
    [InlineData("cluster_size=1k", "base.qcow2")]
    [InlineData("", "a-rather-long-name-of-a-backing-file-that-reaches-into-the-sector-after-the-next-one")]
    public void Extension_is_made_changed_and_removed(string options, string backing)
    {
        var cluster = Cluster(options, backing);
        var before = Header.Parse(cluster, "test");
        foreach (var extension in (BitmapsExtension?[])[Pointing(1, 3), Pointing(2, 5), null, Pointing(1, 9), null])
        {
            var was = Header.Parse(cluster, "test").Bitmaps;
            foreach (var step in BitmapsExtensionEdit.Plan(cluster, extension, "test"))
            {
                foreach (var torn in FirstCluster.Torn(cluster, step))
                {
                    var header = Header.Parse(torn, "test");
                    Assert.Equal((before.BackingFile, before.BackingFormat), (header.BackingFile, header.BackingFormat));
                    Assert.True(header.Bitmaps is null || header.Bitmaps == was || header.Bitmaps == extension);
                    Assert.Equal(Others(before), Others(header));
                }

                cluster = step;
            }

            Assert.Equal(extension, Header.Parse(cluster, "test").Bitmaps);
        }
    }

    [Fact]
    public void Step_in_one_sector_loses_no_bitmaps_at_any_moment()
    {
        var cluster = BitmapsExtensionEdit.Plan(Cluster("", ""), Pointing(1, 3), "test")[^1];
        var steps = BitmapsExtensionEdit.Plan(cluster, Pointing(2, 5), "test");
        Assert.Single(steps);
    }

    [Fact]
    public void Header_without_room_is_left_alone()
    {
        var name = new string('n', 300);
        var cluster = Cluster("cluster_size=512", name);
        var error = Assert.Throws<ImageFormatException>(() => BitmapsExtensionEdit.Plan(cluster, Pointing(1, 3), "test"));
        Assert.Contains("no room", error.Why);
    }

    private static string Others(Header header) => string.Join(' ', header.Extensions
        .Where(extension => extension.Type != HeaderExtension.Bitmaps)
        .Select(extension => $"{extension.Type:x} {Convert.ToHexString(extension.Data)}"));

    private static BitmapsExtension Pointing(int count, int cluster) => new(count, count * 32, new HostOffset((long)cluster << 16));

    private byte[] Cluster(string options, string backing) => FirstCluster.Make(_directory, options, backing);
}
