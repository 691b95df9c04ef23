using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>The look at cached tables by which loops read and write without the home loop: what it must say no to.</summary>
public sealed class DirectMappingTests
{
    private const int EIO = 5;
    private const int Cluster = 65536;

    private static readonly string[] s_data = ["write -P 1 0 512k"];

    [Fact]
    public void Data_of_ours_alone_is_read_and_written_where_it_lies()
    {
        using var run = Ready(OneImage.Make("cluster_size=65536", "4M", s_data));

        Assert.Equal((true, true), Maps(run, Cluster + 512, 1024));
        Assert.Equal((true, true), Maps(run, 0, 8 * Cluster)); // eight clusters in a row in the file
        Assert.Equal(run.Storage.Content.DataCluster(1) + 512, Place(run, Cluster + 512, 1024));
        Assert.Equal((false, false), Maps(run, 0, (8 * Cluster) + 1)); // the last byte is in no cluster
    }

    [Fact]
    public void Cluster_that_a_snapshot_shares_is_only_read()
    {
        using var run = Ready(OneImage.Make("cluster_size=65536", "4M", image => Qemu.Img("snapshot", "-c", "first", image), s_data));
        Assert.Equal(0, run.Write(Cluster, 2 * Cluster, 2)); // now clusters 1 and 2 are ours alone

        Assert.Equal((true, false), Maps(run, 3 * Cluster, 4096));
        Assert.Equal((true, true), Maps(run, Cluster, 2 * Cluster));
        Assert.Equal((false, false), Maps(run, 0, 2 * Cluster));
    }

    [Fact]
    public void First_cluster_of_a_write_does_not_vouch_for_the_others()
    {
        var image = OneImage.Make("cluster_size=65536", "4M", s_data);
        image.Put64(image.L2Table() + 8, image.U64(image.L2Table() + 8) & ~(1UL << 63)); // COPIED
        image.SetRefcount(image.DataCluster(1) / Cluster, 2);
        using var run = Ready(image);

        Assert.Equal((true, false), Maps(run, 0, 2 * Cluster));
        Assert.Equal((true, true), Maps(run, 0, Cluster));
    }

    [Fact]
    public void Neighbours_on_the_disk_that_are_none_in_the_file_are_not_one_piece()
    {
        using var run = Ready(OneImage.Make("cluster_size=65536", "4M", "write -P 1 64k 64k", "write -P 2 0 64k", "write -P 3 128k 64k"));

        Assert.Equal((false, false), Maps(run, Cluster - 512, 1024));
        Assert.Equal((false, false), Maps(run, 0, 3 * Cluster));
        Assert.Equal((true, true), Maps(run, 0, Cluster));
    }

    [Fact]
    public void Zero_and_compressed_and_missing_clusters_are_no_piece_of_the_file()
    {
        using var run = Ready(OneImage.Make("cluster_size=65536", "4M", "write -P 1 0 256k", "write -c -P 2 512k 64k"));
        Assert.Equal(0, run.Zero(Cluster, Cluster, ZeroFlags.None)); // keeps its cluster, where the old bytes are
        Assert.Equal(0, run.Zero(2 * Cluster, Cluster, ZeroFlags.MayUnmap));
        Assert.NotEqual(0, run.Storage.Content.DataCluster(1));

        foreach (var cluster in new[] { 1, 2, 8, 20 })
            Assert.Equal((false, false), Maps(run, cluster * Cluster, 512));
        Assert.Equal((true, true), Maps(run, 3 * Cluster, 512));
    }

    [Fact]
    public void Pointer_that_is_not_aligned_to_a_cluster_is_left_to_the_home_loop()
    {
        var image = OneImage.Make("cluster_size=65536", "4M", s_data);
        image.Put64(image.L2Table() + 8, image.U64(image.L2Table() + 8) + 512);
        using var run = Ready(image);

        Assert.Equal((false, false), Maps(run, Cluster, 512));
    }

    [Theory]
    [InlineData(512)]
    [InlineData(4096)]
    public void Write_that_the_file_does_not_take_as_it_is_goes_the_long_way(int alignment)
    {
        using var run = Ready(OneImage.Make("cluster_size=65536", "4M", s_data), alignment: alignment);

        Assert.Equal((true, true), Maps(run, alignment, alignment));
        Assert.Equal((true, false), Maps(run, alignment / 2, alignment));
        Assert.Equal((true, false), Maps(run, 0, alignment / 2));
        Assert.Equal((true, false), Maps(run, alignment, alignment + (alignment / 2)));
    }

    [Fact]
    public void Write_before_the_first_change_was_prepared_goes_the_long_way()
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "4M", s_data));
        Assert.Equal(0, run.Expect(0, 512, 1));

        Assert.Equal((true, false), Maps(run, 0, 512));
        Assert.Equal(0, run.Write(0, 512, 1));
        Assert.Equal((true, true), Maps(run, 0, 512));
        run.Close();
    }

    [Theory]
    [InlineData(DetectZeroes.On)]
    [InlineData(DetectZeroes.Unmap)]
    public void Write_whose_zeroes_must_be_found_goes_the_long_way(DetectZeroes detect)
    {
        using var run = Ready(OneImage.Make("cluster_size=65536", "4M", s_data), options: new ImageOptions { DetectZeroes = detect });

        Assert.Equal((true, false), Maps(run, 0, 512));
    }

    [Fact]
    public void Nothing_is_written_after_a_failed_sync()
    {
        using var run = Ready(OneImage.Make("cluster_size=65536", "4M", s_data));
        Assert.Equal(0, run.Write(0, 512, 2));
        run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Flush ? EIO : 0;
        Assert.Equal(-EIO, run.Flush());

        Assert.Equal((true, false), Maps(run, 0, 512));
    }

    [Fact]
    public void Nothing_is_written_once_the_image_is_found_to_be_corrupt()
    {
        var image = OneImage.Make("cluster_size=65536", "4M", s_data);
        image.Put64(image.L2Table() + 8, image.U64(image.L2Table() + 8) + 512);
        using var run = Ready(image);
        Assert.Equal((true, true), Maps(run, 0, 512));
        Assert.Equal(-EIO, run.Expect(Cluster, 512, 1));

        Assert.Equal((true, false), Maps(run, 0, 512));
    }

    [Fact]
    public void Image_that_is_only_read_is_not_written()
    {
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "4M", s_data), options: new ImageOptions { ReadOnly = true });
        Assert.Equal(0, run.Expect(0, 512, 1));
        Assert.NotEqual(0, run.Write(0, 512, 1));

        Assert.Equal((true, false), Maps(run, 0, 512));
    }

    [Fact]
    public void Overlay_reads_from_its_base_only_what_it_holds_nothing_of_and_only_to_its_end()
    {
        var below = OneImage.Make("cluster_size=65536", "1M", "write -P 5 0 1M");
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "4M", "write -P 6 64k 64k"), below);
        Assert.Equal(0, run.Write(3 << 20, 512, 1)); // loads the tables
        Assert.Equal(0, run.Zero(3 * Cluster, Cluster, ZeroFlags.MayUnmap));
        Assert.Equal(0, run.Expect(0, Cluster, 5)); // loads those of the base

        Assert.Equal((true, false), Maps(run, 0, Cluster));
        Assert.Equal((false, false), Maps(run, 0, Cluster + 512)); // the overlay's own cluster
        Assert.Equal((true, true), Maps(run, Cluster, Cluster));
        Assert.Equal((false, false), Maps(run, 3 * Cluster, 512)); // zeroes hide the base
        Assert.Equal((false, false), Maps(run, (2 * Cluster) + 512, Cluster));
        Assert.Equal((true, false), Maps(run, (1 << 20) - 512, 512));
        Assert.Equal((false, false), Maps(run, (1 << 20) - 512, 1024)); // past the end of the base are zeroes
    }

    [Fact]
    public void Bytes_of_a_base_behind_its_end_are_not_shown_by_an_overlay()
    {
        // The last cluster of the base goes on behind the end of its disk, as when it was made smaller.
        const int end = (1 << 20) - (Cluster / 2);
        var below = OneImage.Make("cluster_size=65536", "1M", "write -P 5 0 1M");
        below.Put64(HeaderField.Size, end);
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "4M", "write -P 6 64k 64k"), below);
        Assert.Equal((0, 0), (run.Expect(0, Cluster, 5), run.Expect(3 << 20, 512, 0))); // loads the tables

        Assert.Equal((true, false), Maps(run, end - 512, 512));
        Assert.Equal((false, false), Maps(run, end - 512, 1024));
        Assert.Equal((false, false), Maps(run, end, 512));
        using var buffer = new TableBuffer(1024);
        Assert.Equal(0, run.Loop.RunUntilComplete(LoopTransfer.ReadAsync(run.Image, end - 512, buffer.Take(1024))));
        Assert.False(buffer.Span[..512].ContainsAnyExcept((byte)5) || buffer.Span[512..1024].ContainsAnyExcept((byte)0));
    }

    /// <summary>
    /// A sub-sector write reads, changes and writes whole sectors: direct writes that began before are waited for, others take the
    /// long way, and none of what was answered is undone.
    /// </summary>
    [Theory]
    [InlineData(4096, true)]
    [InlineData(4096, false)]
    [InlineData(512, true)]
    public void Direct_write_beside_a_read_modify_write_is_not_undone(int alignment, bool isQcow2)
    {
        var content = isQcow2 ? OneImage.Make("cluster_size=65536", "1M", "write -P 1 0 1M") : Raw();
        var refused = 0;
        for (var seed = 0; seed < 120; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var storage = new MemoryStorage(loop, content.Copy(), alignment);
            IDisk disk = isQcow2
                ? loop.RunUntilComplete(Qcow2Image.OpenAsync(storage, new ImageOptions(), null))
                : new RawDisk(storage, readOnly: false);
            using var small = new TableBuffer(100);
            using var sectors = new TableBuffer(alignment);
            small.Span.Fill(0xAB);
            sectors.Span.Fill(0xCD);
            Assert.Equal(0, loop.RunUntilComplete(disk.WriteAsync(Cluster, sectors.Take(alignment), forceUnitAccess: false)));

            // Either may come first: the sector's first half is the small write's or both were done in their order.
            var first = Write(isDirect: seed % 2 == 0);
            for (var step = 0; step < seed % 7; step++)
                loop.Step();
            refused += seed % 2 != 0 && !first.IsCompleted && !MapsWrite(disk, 2L * alignment, alignment) ? 1 : 0;
            var second = Write(isDirect: seed % 2 != 0);
            Assert.Equal((0, 0), (loop.RunUntilComplete(first), loop.RunUntilComplete(second)));
            Assert.True(MapsWrite(disk, 2L * alignment, alignment));

            using var found = new TableBuffer(alignment);
            Assert.Equal(0, loop.RunUntilComplete(disk.ReadAsync(0, found.Take(alignment))));
            Assert.False(found.Span[..(alignment - 300)].ContainsAnyExcept((byte)0xCD), $"seed {seed}: the direct write was undone");
            Assert.True(found.Span[alignment - 300] is 0xAB or 0xCD, $"seed {seed}");
            Assert.Equal(0, loop.Run(disk.CloseAsync));

            LoopTask<int> Write(bool isDirect) => isDirect
                ? LoopTransfer.WriteAsync(disk, 0, sectors.Take(alignment))
                : disk.WriteAsync(alignment - 300, small.Take(100), forceUnitAccess: false);
        }

        Assert.NotEqual(0, refused);
    }

    private static SparseBytes Raw()
    {
        var content = new SparseBytes();
        var ones = new byte[1 << 20];
        Array.Fill(ones, (byte)1);
        content.Write(0, ones);
        return content;
    }

    /// <summary>The image, open, prepared for writing, its first tables in the cache.</summary>
    private static OneImage Ready(SparseBytes content, int alignment = 1, ImageOptions? options = null)
    {
        var run = new OneImage(content, alignment: alignment, options: options);
        Assert.Equal(0, run.Write(3 << 20, 4096, 7));
        return run;
    }

    private static (bool Read, bool Write) Maps(OneImage run, long offset, int length)
    {
        var parity = run.Image.Epochs.Enter(LoopTransfer.Loop);
        var read = run.Image.TryMapRead(offset, length, out _);
        run.Image.Epochs.Exit(LoopTransfer.Loop, parity);
        return (read, MapsWrite(run.Image, offset, length));
    }

    private static bool MapsWrite(IDisk disk, long offset, int length)
    {
        var parity = disk.Epochs.Enter(LoopTransfer.Loop);
        var write = disk.TryMapWrite(offset, length, out _);
        disk.Epochs.Exit(LoopTransfer.Loop, parity);
        return write;
    }

    private static long Place(OneImage run, long offset, int length)
    {
        var parity = run.Image.Epochs.Enter(LoopTransfer.Loop);
        Assert.True(run.Image.TryMapRead(offset, length, out var read));
        Assert.True(run.Image.TryMapWrite(offset, length, out var write));
        run.Image.Epochs.Exit(LoopTransfer.Loop, parity);
        Assert.Equal((read.File, read.Offset), (write.File, write.Offset));
        return read.Offset;
    }
}
