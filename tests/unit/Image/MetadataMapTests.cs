using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>Two kinds of metadata in one cluster: such an image is refused for writing, and the message says where.</summary>
public sealed class MetadataMapTests
{
    private const ulong Copied = 1UL << 63;

    [Theory]
    [InlineData("refcount_table_offset")]
    [InlineData("refcount block 0")]
    [InlineData("L2 table 0")]
    [InlineData("L2 table 1")]
    [InlineData("snapshots_offset")]
    [InlineData("L1 table of snapshot 1")]
    public void Overlap_names_the_field(string field)
    {
        var image = OneImage.Make("cluster_size=4096", "4M", path => Qemu.Img("snapshot", "-c", "one", path), "write -P 1 0 4k",
            "write -P 1 2M 4k");
        var snapshots = (long)image.U64(HeaderField.SnapshotsOffset);
        switch (field)
        {
            case "refcount_table_offset": image.Put64(HeaderField.RefcountTableOffset, (ulong)image.L1Table()); break;
            case "refcount block 0": image.Put64(image.RefcountTable(), (ulong)image.RefcountTable()); break;
            case "L2 table 0": image.Put64(image.L1Table(), Copied | (ulong)image.RefcountBlock()); break;
            case "L2 table 1": image.Put64(image.L1Table() + 8, Copied | (ulong)image.L2Table()); break;
            case "snapshots_offset": image.Put64(HeaderField.SnapshotsOffset, image.U64(snapshots)); break;
            case "L1 table of snapshot 1": image.Put64(snapshots, (ulong)image.L1Table()); break;
        }

        if (field == "snapshots_offset")
        {
            // A snapshot table that is found where the snapshot's L1 table is.
            var table = image.Bytes(snapshots, 4096);
            image.Write((long)image.U64(HeaderField.SnapshotsOffset), table);
        }

        var refusal = Assert.Throws<ImageFormatException>(() => new OneImage(image));

        Assert.Equal(field, refusal.Field);
        Assert.Contains("overlap", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Table_past_the_end_of_the_file_is_refused()
    {
        var image = OneImage.Make("cluster_size=4096", "4M", "write -P 1 0 4k");
        image.Put64(image.L1Table() + 8, Copied | (1UL << 40));

        var refusal = Assert.Throws<ImageFormatException>(() => new OneImage(image));

        Assert.Equal("L2 table 1", refusal.Field);
        Assert.Contains("past the end", refusal.Message, StringComparison.Ordinal);
    }
}

/// <summary>The set behind it.</summary>
public sealed class ClusterSetTests
{
    [Fact]
    public void Members_are_those_that_were_added_and_not_removed()
    {
        var random = new Random(7);
        var set = new ClusterSet();
        var model = new System.Collections.Generic.HashSet<long>();
        for (var step = 0; step < 20_000; step++)
        {
            // Neighbours, borders of pieces, and clusters of a sparse file of exabytes.
            var cluster = random.Next(3) switch
            {
                0 => random.Next(300),
                1 => (random.NextInt64(4) << 16) - 2 + random.Next(4),
                _ =>
                (1L << 54) + random.Next(100)
            };
            if (cluster < 0)
                continue;
            switch (random.Next(3))
            {
                case 0: Assert.Equal(model.Add(cluster), set.Add(cluster)); break;
                case 1: model.Remove(cluster); set.Remove(cluster); break;
                default: Assert.Equal(model.Contains(cluster), set.Contains(cluster)); break;
            }
        }
    }
}
