using System;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>What a snapshot uses is not touched, whatever is done to the same clusters of the disk.</summary>
public sealed class SharedClusterTests
{
    private const int Cluster = 65536;
    private const int Shared = 16 * Cluster;

    /// <summary>Data, zero clusters that kept their place, zero clusters without one, compressed clusters, nothing.</summary>
    private static readonly SparseBytes s_image = OneImage.Make(
        "cluster_size=65536", "16M", image => Qemu.Img("snapshot", "-c", "first", image),
        "write -P 1 0 1M", "write -z 256k 128k", "write -zu 384k 128k", "write -c -P 2 1M 64k", "write -c -P 3 1088k 64k");

    /// <summary>One table, but 32 MiB in each of its cached slices.</summary>
    private static readonly SparseBytes s_large = OneImage.Make(
        "cluster_size=65536", "64M", image => Qemu.Img("snapshot", "-c", "first", image), "write -P 1 0 1M", "write -P 2 40M 1M");

    [Theory]
    [InlineData("write", 0, Cluster)]
    [InlineData("write", 0, Shared + (4 * Cluster))]
    [InlineData("write", 1000, 3000)]
    [InlineData("write", (4 * Cluster) + 1000, 3000)] // in a zero cluster with a place
    [InlineData("write", (6 * Cluster) + 1000, 3000)] // and in one without
    [InlineData("write", Shared + 1000, Cluster)] // in two compressed clusters
    [InlineData("zero", 0, Shared + (4 * Cluster))]
    [InlineData("zero", 1000, 3000)]
    [InlineData("unmap", 0, Shared + (4 * Cluster))]
    [InlineData("unmap", Cluster - 1000, 2 * Cluster)]
    [InlineData("discard", 0, Shared + (4 * Cluster))]
    [InlineData("discard", Cluster, Cluster)]
    public void Snapshot_stays_as_it_is(string change, int offset, int length)
    {
        var snapshot = new GuestReader(s_image).Snapshots()[0].ReadAll();
        using var run = new OneImage(s_image.Copy());
        Assert.Equal(0, run.Write(15 << 20, Cluster, 4));
        for (var round = 0; round < 2; round++)
        {
            Assert.Equal(0, change switch
            {
                "write" => run.Write(offset, length, 9),
                "zero" => run.Zero(offset, length, ZeroFlags.None),
                "unmap" => run.Zero(offset, length, ZeroFlags.MayUnmap),
                _ => run.Discard(offset, length),
            });
            Assert.Equal(0, run.Flush());
            run.Loop.RunUntilComplete(run.Loop.DelayAsync(20));
            Assert.Equal(0, run.Write((8 << 20) + (round << 20), 1 << 20, 8)); // takes whatever was freed
        }

        Assert.Equal(0, run.Expect(offset, length, (byte)(change == "write" ? 9 : 0)));
        Assert.Equal(0, run.Close().Leaks);
        Assert.True(new GuestReader(run.Storage.Content).Snapshots()[0].ReadAll().AsSpan().SequenceEqual(snapshot));
    }

    [Fact]
    public void Copy_of_a_shared_table_holds_all_of_its_entries()
    {
        // Only the first slice is loaded and changed.
        using var run = new OneImage(s_large.Copy());
        Assert.Equal(0, run.Write(0, Cluster, 3));
        Assert.Equal(0, run.Close().Leaks);

        using var again = new OneImage(run.Storage.Content);
        Assert.Equal((0, 0, 0), (again.Expect(0, Cluster, 3), again.Expect(Cluster, 15 * Cluster, 1), again.Expect(40 << 20, 1 << 20, 2)));
    }

    /// <summary>A piece of the shared table is being read while the table is copied: what it holds is the copy's from then on.</summary>
    [Fact]
    public void Piece_of_a_table_that_moved_while_it_was_read_is_written_to_the_new_place()
    {
        const int slice = 4096; // maps 32 MiB
        var image = s_large.Copy();
        var snapshot = new GuestReader(image).Snapshots()[0].ReadAll();
        var table = image.L2Table();
        using var run = new OneImage(image);
        using var buffer = new TableBuffer(Cluster);
        run.Storage.Hold = operation => operation.Kind == StorageOperationKind.Read && operation.Offset == table + slice;
        var read = run.Image.ReadAsync(40 << 20, buffer.Take(Cluster));
        run.Loop.RunUntilIdle();
        Assert.Equal(1, run.Storage.InFlight);
        Assert.Equal(0, run.Write(0, Cluster, 3));
        run.Storage.Release();
        Assert.Equal(0, run.Loop.RunUntilComplete(read));
        Assert.False(buffer.Span[..Cluster].ContainsAnyExcept((byte)2));

        Assert.Equal(0, run.Write(40 << 20, Cluster, 4));

        Assert.Equal(0, run.Close().Leaks);
        Assert.True(new GuestReader(run.Storage.Content).Snapshots()[0].ReadAll().AsSpan().SequenceEqual(snapshot));
        using var again = new OneImage(run.Storage.Content);
        Assert.Equal((0, 0, 0),
            (again.Expect(0, Cluster, 3), again.Expect(40 << 20, Cluster, 4), again.Expect((40 << 20) + Cluster, 15 * Cluster, 2)));
    }

    [Theory]
    [InlineData(0, 3 * Cluster)]
    [InlineData(1000, 3 * Cluster)]
    public void Write_that_begins_in_a_cluster_of_ours_does_not_go_on_in_its_shared_neighbour(int offset, int length)
    {
        // The neighbour of cluster 0, on the disk and in the file, is shared; the one behind it is not.
        var image = OneImage.Make("cluster_size=65536", "16M", "write -P 1 0 1M");
        image.Put64(image.L2Table() + 8, image.U64(image.L2Table() + 8) & ~(1UL << 63)); // COPIED
        image.SetRefcount(image.DataCluster(1) / Cluster, 2);
        var place = image.DataCluster(1);
        using var run = new OneImage(image);

        Assert.Equal(0, run.Write(offset, length, 9));

        Assert.Equal(0, run.Expect(offset, length, 9));
        Assert.False(run.Storage.Content.Bytes(place, Cluster).AsSpan().ContainsAnyExcept((byte)1));
        Assert.Equal(0, run.Flush());
        Assert.Equal((place - Cluster, place + Cluster), (run.Storage.Content.DataCluster(0), run.Storage.Content.DataCluster(2)));
    }
}
