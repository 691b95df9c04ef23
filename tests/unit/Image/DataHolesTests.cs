using System;
using System.Collections.Generic;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>Data clusters in holes of the file (preallocation=metadata) are told as zeroes, and only as long as they are holes.</summary>
public sealed class DataHolesTests
{
    private const int Megabyte = 1 << 20;
    private const int Cluster = 65536;

    [Fact]
    public void Preallocated_disk_is_zero_where_nothing_was_written()
    {
        using var run = new OneImage(OneImage.Make("preallocation=metadata", "8M", "write -P 1 1M 300k", "write -P 2 5M 4k"));
        Assert.Equal(
            [(0, true), (Megabyte, false), (Megabyte + 307200, true), (5 * Megabyte, false), (5 * Megabyte + 4096, true)],
            Map(run.Image, run.Loop));
    }

    [Fact]
    public void Disk_whose_clusters_are_all_in_the_file_asks_nothing()
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "8M", "write -P 1 0 6M"));
        Assert.Equal([(0, false), (6 * Megabyte, true)], Map(run.Image, run.Loop));
        Assert.Equal(0, run.Storage.Seeks);
    }

    [Theory]
    [InlineData(512)]
    [InlineData(4096)]
    [InlineData(Cluster)]
    [InlineData(3 * Cluster)]
    public void Acknowledged_write_is_data_whatever_was_said_before(int length)
    {
        var image = OneImage.Make("preallocation=metadata", "8M");
        for (var seed = 1; seed <= 40; seed++)
        {
            using var run = new OneImage(image.Copy(), seed: seed);
            var random = new Random(seed);
            for (var step = 0; step < 10; step++)
            {
                var offset = (long)random.Next((8 * Megabyte - length) / 512) * 512;
                Assert.Equal(0, run.Loop.RunUntilComplete(run.Image.MapAsync(offset, length)).Error);
                var write = run.WriteAsync(offset, length, 7);
                for (var step2 = random.Next(6); step2 > 0; step2--)
                    run.Loop.Step();
                var during = run.Image.MapAsync(offset, length);
                Assert.Equal(0, run.Loop.RunUntilComplete(write));
                run.Loop.RunUntilComplete(during);

                for (var at = offset; at < offset + length;)
                {
                    var extent = run.Loop.RunUntilComplete(run.Image.MapAsync(at, offset + length - at));
                    Assert.Equal((0, false), (extent.Error, extent.IsZero));
                    at += extent.Length;
                }
            }
        }
    }

    [Fact]
    public void Direct_write_of_another_loop_is_seen()
    {
        using var run = new OneImage(OneImage.Make("preallocation=metadata", "8M"));
        Assert.Equal(0, run.Write(7 * Megabyte, 512, 1)); // loads the table, prepares for writing
        Assert.True(run.Loop.RunUntilComplete(run.Image.MapAsync(Megabyte, 4096)).IsZero);
        using var buffer = new TableBuffer(4096);
        buffer.Span.Fill(9);
        var parity = run.Image.Epochs.Enter(0);
        Assert.True(run.Image.TryMapWrite(Megabyte, 4096, out var place));
        Assert.Equal(0, run.Loop.RunUntilComplete(place.File.WriteAsync(place.Offset, buffer.Take(4096))));
        run.Image.Epochs.Exit(0, parity);

        Assert.False(run.Loop.RunUntilComplete(run.Image.MapAsync(Megabyte, 4096)).IsZero);
        Assert.True(run.Image.TryMapRead(Megabyte, 4096, out var again) && again.MayBeHole);
    }

    [Fact]
    public void Holes_of_a_base_are_told_at_its_depth()
    {
        var below = OneImage.Make("preallocation=metadata", "8M", "write -P 1 1M 64k");
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "8M", "write -P 2 4M 1M"), below);
        var extent = run.Loop.RunUntilComplete(run.Image.MapAsync(0, Megabyte));
        Assert.Equal((2, false, true, (long)Megabyte), (extent.Depth, extent.IsHole, extent.IsZero, extent.Length));
        Assert.Equal(
            [(0, true), (Megabyte, false), (Megabyte + Cluster, true), (4 * Megabyte, false), (5 * Megabyte, true)],
            Map(run.Image, run.Loop));
    }

    [Fact]
    public void Questions_for_one_extent_are_bounded_and_all_of_the_disk_is_told()
    {
        // The first half of the disk lies in every second cluster of the file, all holes; between them is data, the other half.
        var image = OneImage.Make("preallocation=metadata,cluster_size=4096", "2M");
        var table = image.L2Table();
        var places = new ulong[512];
        for (var cluster = 0; cluster < 512; cluster++)
            places[cluster] = image.U64(table + cluster * 8);
        for (var cluster = 0; cluster < 512; cluster++)
        {
            var place = places[cluster < 256 ? 2 * cluster : 2 * (cluster - 256) + 1];
            image.Put64(table + cluster * 8, place);
            if (cluster >= 256)
                image.Write((long)(place & 0x00FFFFFFFFFFFE00), new byte[] { 1 });
        }

        using var run = new OneImage(image, options: new ImageOptions { ReadOnly = true });
        for (var at = 0L; at < 2 * Megabyte;)
        {
            var before = run.Storage.Seeks;
            var extent = run.Loop.RunUntilComplete(run.Image.MapAsync(at, 2 * Megabyte - at));
            Assert.Equal(0, extent.Error);
            Assert.InRange(extent.Length, 1, 2 * Megabyte - at);
            Assert.InRange(run.Storage.Seeks - before, 1, DataHoles.MaximumSeeks + 2);
            Assert.Equal(at < Megabyte, extent.IsZero);
            Assert.Equal(run.Storage.Seeks - before, extent.Seeks);
            at += extent.Length;
        }
    }

    [Fact]
    public void Small_zero_write_to_a_hole_writes_nothing_and_to_data_does()
    {
        using var run = new OneImage(OneImage.Make("preallocation=metadata", "8M", "write -P 1 1M 64k"));
        Assert.Equal(0, run.Write(7 * Megabyte, 512, 1));
        var allocated = run.Storage.Content.Allocated;

        Assert.Equal(0, run.Zero(2 * Megabyte + 512, 8192, ZeroFlags.Fast));
        Assert.Equal(allocated, run.Storage.Content.Allocated);
        Assert.Equal(0, run.Zero(Megabyte + 512, 8192, ZeroFlags.ForceUnitAccess));
        Assert.Equal((0, 0, 0), (run.Expect(Megabyte, 512, 1), run.Expect(Megabyte + 512, 8192, 0), run.Expect(Megabyte + 8704, 512, 1)));
        run.Close();
    }

    [Fact]
    public void Raw_disk_tells_its_holes_and_acknowledged_writes()
    {
        for (var seed = 1; seed <= 50; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var content = new SparseBytes();
            content.SetLength(Megabyte + 100);
            var disk = new RawDisk(new MemoryStorage(loop, content, 512), readOnly: false);
            Assert.Equal((Megabyte + 512, true), (disk.Size, loop.RunUntilComplete(disk.MapAsync(0, disk.Size)).IsZero));
            using var buffer = new TableBuffer(4096);
            buffer.Span.Fill(3);
            var write = disk.WriteAsync(65536, buffer.Take(4096), forceUnitAccess: false);
            var during = disk.MapAsync(65536, 4096);
            Assert.Equal(0, loop.RunUntilComplete(write));
            loop.RunUntilComplete(during);

            Assert.False(loop.RunUntilComplete(disk.MapAsync(65536, 4096)).IsZero);
            Assert.Equal(0, loop.RunUntilComplete(disk.WriteZeroesAsync(65536, 4096, ZeroFlags.MayUnmap)));
            Assert.True(loop.RunUntilComplete(disk.MapAsync(0, disk.Size)) is { IsZero: true, IsHole: true } all
                && all.Length == disk.Size);
            loop.Run(disk.CloseAsync);
        }
    }

    /// <summary>Where the disk changes between zeroes and data.</summary>
    private static List<(int Start, bool IsZero)> Map(Qcow2Image disk, SimulatedLoop loop)
    {
        var found = new List<(int Start, bool IsZero)>();
        for (var at = 0L; at < disk.Size;)
        {
            var extent = loop.RunUntilComplete(disk.MapAsync(at, disk.Size - at));
            Assert.Equal(0, extent.Error);
            if (found.Count == 0 || found[^1].IsZero != extent.IsZero)
                found.Add(((int)at, extent.IsZero));
            at += extent.Length;
        }

        return found;
    }
}
