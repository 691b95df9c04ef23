using System;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>Images whose metadata contradicts itself: nothing is destroyed, reads are served, the corrupt bit is set.</summary>
public sealed class DamagedImageTests
{
    private const int EIO = 5;
    private const int Cluster = 65536;
    private const ulong Copied = 1UL << 63;
    private const ulong Compressed = 1UL << 62;

    [Fact]
    public void Corrupt_bit_is_in_the_file_when_corruption_is_found_by_the_close_itself()
    {
        var image = OneImage.Make("cluster_size=65536", "1M", "write -P 1 0 128k");
        image.SetRefcount(image.DataCluster(0) / Cluster, 0);
        for (var seed = 1; seed <= 60; seed++)
        {
            using var run = new OneImage(image.Copy(), seed: seed);
            Assert.Equal(0, run.Discard(0, Cluster));

            // The storage refuses operations after its end, and an end with operations in flight.
            Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));

            run.Loop.RunUntilIdle();
            Assert.True(run.Storage.Content.IsMarkedCorrupt());
        }
    }

    [Fact]
    public void Close_waits_for_the_commit_that_is_under_way_when_the_image_turns_out_corrupt()
    {
        var image = OneImage.Make("cluster_size=65536", "2G", "write -P 1 0 128k", "write -P 1 1G 64k");
        image.Put64(image.L2Table(2), Copied | (ulong)image.L1Table());
        for (var seed = 1; seed <= 60; seed++)
        {
            using var run = new OneImage(image.Copy(), seed: seed);
            Assert.Equal(0, run.Write(1 << 20, 8 * Cluster, 2));
            var flush = run.Image.FlushAsync();
            for (var step = 0; step < seed % 7; step++)
                run.Loop.Step();
            Assert.Equal(-EIO, run.Write(1 << 30, 4096, 3));

            Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));

            Assert.True(flush.IsCompleted);
            _ = run.Loop.RunUntilComplete(flush);
            run.Loop.RunUntilIdle();
            Assert.True(run.Storage.Content.IsMarkedCorrupt());
        }
    }

    [Theory]
    [InlineData("write")]
    [InlineData("zero")]
    [InlineData("discard")]
    public void Compressed_entry_that_points_into_a_refcount_block_frees_nothing(string change)
    {
        var image = OneImage.Make("cluster_size=65536", "1M", "write -P 1 0 128k");
        var block = image.RefcountBlock();
        image.Put64(image.L2Table(), Compressed | (ulong)block);
        using var run = new OneImage(image);
        var punched = false;
        run.Storage.Fault = operation =>
        {
            punched |= operation.Kind == StorageOperationKind.Punch && operation.Offset < block + Cluster
                && operation.Offset + operation.Length > block;
            return 0;
        };

        _ = change switch
        {
            "write" => run.Write(0, Cluster, 2),
            "zero" => run.Zero(0, Cluster, ZeroFlags.MayUnmap),
            _ => run.Discard(0, Cluster),
        };
        _ = run.Flush();
        run.Loop.RunUntilIdle();
        Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));

        Assert.False(punched);
        Assert.Equal(1, image.Refcount(block / Cluster));
        Assert.True(image.IsMarkedCorrupt());
    }

    public static TheoryData<string, bool> Targets()
    {
        var data = new TheoryData<string, bool>();
        foreach (var target in (string[])["l1", "l2", "refcount table", "refcount block"])
        {
            data.Add(target, false);
            data.Add(target, true);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void Entry_that_points_to_metadata_is_never_written_through(string target, bool zero)
    {
        var image = OneImage.Make("cluster_size=65536", "1M", "write -P 1 0 128k");
        var place = target switch
        {
            "l1" => image.L1Table(),
            "l2" => image.L2Table(),
            "refcount table" => image.RefcountTable(),
            _ => image.RefcountBlock(),
        };
        image.Put64(image.L2Table(), Copied | (ulong)place | (zero ? 1UL : 0));
        foreach (var change in (Func<OneImage, int>[])[
            run => run.Zero(512, 1024, ZeroFlags.None), run => run.Write(0, Cluster, 2), run => run.Write(4096, 512, 2),
            run => run.Discard(0, Cluster), run => run.Zero(0, Cluster, ZeroFlags.None)])
        {
            using var run = new OneImage(image.Copy());
            var before = run.Storage.Content.Bytes(place, Cluster);

            // Zeroes over a part of what reads as zeroes change nothing; everything else is refused.
            var result = change(run);
            Assert.True(result == -EIO || (zero && result == 0));
            Assert.Equal(-EIO, run.Write(Cluster, 512, 2));

            Assert.Equal(-EIO, run.Flush());
            Assert.Equal(0, run.Expect(Cluster, Cluster, 1));
            Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));
            Assert.Equal(before, run.Storage.Content.Bytes(place, Cluster));
            Assert.True(run.Storage.Content.IsMarkedCorrupt());
        }
    }

    [Fact]
    public void Reads_of_a_corrupt_image_wait_for_a_free_slot_instead_of_failing()
    {
        const int step = 2 << 20; // what one slice of an L2 table with 4 KiB clusters maps
        const int slices = 24;
        var writes = Enumerable.Range(0, slices).Select(slice => $"write -P {slice + 1} {(long)slice * step} 4k");
        var image = OneImage.Make("cluster_size=4096", "64M", [.. writes, $"write -P 9 {step * 30L} 4k"]);
        image.Put64(image.L2Table(30), Copied | (ulong)image.L1Table());
        for (var seed = 1; seed <= 10; seed++)
        {
            // Eight slices: one set, the smallest cache there is.
            using var run = new OneImage(image.Copy(), seed: seed, options: new ImageOptions { CacheBytes = 1 });
            Assert.Equal(-EIO, run.Write(step * 30L, 4096, 1));

            var group = TaskGroup.Rent();
            for (var slice = 0; slice < slices; slice++)
                group.Add(ReadAsync(run, (long)slice * step, (byte)(slice + 1)));

            Assert.Equal(0, run.Loop.RunUntilComplete(group.WaitAsync()));
            Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));
        }
    }

    private static async LoopTask<int> ReadAsync(OneImage run, long offset, byte expected)
    {
        using var buffer = new TableBuffer(4096);
        var error = await run.Image.ReadAsync(offset, buffer.Whole);
        return error == 0 && buffer.Span.ContainsAnyExcept(expected) ? -1 : error;
    }
}
