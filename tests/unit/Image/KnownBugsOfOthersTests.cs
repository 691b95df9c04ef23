using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>Bugs that cost users of other engines their data; each must stay impossible here.</summary>
public sealed class KnownBugsOfOthersTests
{
    private const int EIO = 5;
    private const int ENOSPC = 28;
    private const int EOPNOTSUPP = 95;

    [Fact]
    public void Full_disk_while_a_shared_l2_table_is_copied_gives_no_table_away()
    {
        using var run =
            new OneImage(OneImage.Make("cluster_size=512", "1M", image => Qemu.Img("snapshot", "-c", "first", image), "write -P 1 0 1M"));
        run.Storage.SpaceLimit = run.Storage.Length;

        var refused = 0;
        for (var cluster = 0; cluster < 200; cluster++)
            refused += run.Write(cluster * 5120L, 512, 2) == -ENOSPC ? 1 : 0;
        run.Storage.SpaceLimit = long.MaxValue;
        Assert.InRange(refused, 1, 200);
        for (var cluster = 0; cluster < 200; cluster++)
            Assert.Equal(0, run.Write(cluster * 5120L, 512, 3));

        for (var cluster = 0; cluster < 200; cluster++)
            Assert.Equal((0, 0), (run.Expect(cluster * 5120L, 512, 3), run.Expect((cluster * 5120L) + 512, 4608, 1)));
        run.Close();
    }

    [Theory]
    [InlineData("cluster_size=512")]
    [InlineData("cluster_size=512,refcount_bits=64")] // the refcount table moves
    [InlineData("cluster_size=65536")]
    public void Table_is_not_published_when_its_refcount_could_not_be_written(string options)
    {
        for (var failing = 0; failing < 12; failing++)
        {
            using var run = new OneImage(OneImage.Make(options, "4M"), seed: failing + 1);
            var commits = 0;
            Assert.Equal(0, run.Write(0, 3 << 20, 7));
            run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Write && commits++ == failing ? EIO : 0;

            var result = run.Flush();

            // What is on disk now is what a crash would leave.
            Assert.Equal(0, BytesChecker.Check(run.Storage.Content).Errors);
            run.Storage.Fault = null;
            Assert.Equal(0, result == 0 ? 0 : run.Flush());
            Assert.Equal(0, run.Expect(0, 3 << 20, 7));
            Assert.Equal(0, run.Close().Leaks);
            using var again = new OneImage(run.Storage.Content);
            Assert.Equal(0, again.Expect(0, 3 << 20, 7));
        }
    }

    [Fact]
    public void Late_hole_punch_never_hits_a_cluster_that_was_handed_out_again()
    {
        for (var seed = 1; seed <= 40; seed++)
        {
            using var run = new OneImage(OneImage.Make("cluster_size=4096", "4M", "write -P 1 0 512k"), seed: seed);
            for (var round = 0; round < 4; round++)
            {
                var group = TaskGroup.Rent();
                group.Add(run.Image.DiscardAsync(round * 131072L, 131072));
                group.Add(run.Image.FlushAsync());
                for (var write = 0; write < 8; write++)
                    group.Add(run.WriteAsync((1 << 20) + (((round * 8L) + write) * 65536), 65536, (byte)(10 + write)));
                group.Add(run.Image.FlushAsync());
                Assert.Equal(0, run.Loop.RunUntilComplete(group.WaitAsync()));
                Assert.Equal(0, run.Flush());
            }

            run.Loop.RunUntilIdle();
            for (var write = 0; write < 32; write++)
                Assert.Equal(0, run.Expect((1 << 20) + (write * 65536L), 65536, (byte)(10 + (write % 8))));
            Assert.Equal(0, run.Expect(0, 512 << 10, 0));
            Assert.Equal(0, run.Close().Leaks);
        }
    }

    [Theory]
    [InlineData("compat=1.1")]
    [InlineData("compat=0.10")]
    public void Zero_write_with_unmap_never_shows_the_backing_file(string version)
    {
        var below = OneImage.Make("cluster_size=65536", "1M", "write -P 9 0 1M");
        var above = OneImage.Make($"{version},cluster_size=4096", "1M", "write -P 8 100k 100k");
        using var run = new OneImage(above, below);

        Assert.Equal(0, run.Zero(0, 512 << 10, ZeroFlags.MayUnmap));
        Assert.Equal(0, run.Discard(600 << 10, 100 << 10));
        Assert.Equal(0, run.Flush());

        Assert.Equal(0, run.Expect(0, 512 << 10, 0));
        var keepsOld = version == "compat=0.10";
        Assert.Equal(0, run.Expect(600 << 10, 100 << 10, (byte)(keepsOld ? 9 : 0)));
        run.Close();
    }

    [Fact]
    public void Compressed_cluster_at_an_odd_offset_is_no_zero_cluster()
    {
        using var directory = new TempDirectory();
        var content = new byte[2 << 20];
        for (var index = 0; index < content.Length; index++)
            content[index] = (byte)(index / 50 * 7 % 251);
        File.WriteAllBytes(directory.File("raw"), content);
        Qemu.Img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4096", directory.File("raw"),
            directory.File("image.qcow2"));
        var image = SparseBytes.FromFile(directory.File("image.qcow2"));
        Assert.Contains(FirstL2Table(image), entry => (entry & (1UL << 62)) != 0 && (entry & 1) != 0);
        using var run = new OneImage(image);

        using var buffer = new TableBuffer(content.Length);
        Assert.Equal(0, run.Loop.RunUntilComplete(run.Image.ReadAsync(0, buffer.Take(content.Length))));
        Assert.True(buffer.Span[..content.Length].SequenceEqual(content));
        run.Close();
    }

    private static ulong[] FirstL2Table(SparseBytes image)
    {
        var table = (long)(U64(image, (long)U64(image, 40)) & 0x00FFFFFFFFFFFE00);
        return [.. Enumerable.Range(0, 512).Select(index => U64(image, table + (index * 8)))];
    }

    private static ulong U64(SparseBytes image, long offset)
    {
        Span<byte> bytes = stackalloc byte[8];
        image.Read(offset, bytes);
        return BinaryPrimitives.ReadUInt64BigEndian(bytes);
    }

    [Fact]
    public void Header_keeps_compression_type_and_features_when_its_tables_move()
    {
        using var run = new OneImage(OneImage.Make("cluster_size=512,refcount_bits=64,compression_type=zstd", "4M"));
        var before = new byte[512];
        run.Storage.Content.Read(0, before);

        Assert.Equal(0, run.Write(0, 4 << 20, 5));
        run.Close();

        var after = new byte[512];
        run.Storage.Content.Read(0, after);
        Assert.False(before.AsSpan(48, 12).SequenceEqual(after.AsSpan(48, 12)), "the refcount table did not move");
        before.AsSpan(48, 12).CopyTo(after.AsSpan(48));
        Assert.Equal(before, after);
    }

    [Fact]
    public void Hole_punch_that_fails_is_told_and_the_discarded_range_still_reads_zero()
    {
        var reports = new List<string>();
        using var run = new OneImage(OneImage.Make("cluster_size=4096", "1M", "write -P 1 0 512k"), report: reports.Add);
        run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Punch ? EIO : 0;

        Assert.Equal(0, run.Discard(0, 256 << 10));
        Assert.Equal(0, run.Flush());
        run.Loop.RunUntilIdle();

        Assert.Contains(reports, report => report.Contains("punch", StringComparison.Ordinal));
        Assert.Equal((0, 0), (run.Expect(0, 256 << 10, 0), run.Expect(256 << 10, 256 << 10, 1)));
        run.Close();
    }

    [Fact]
    public void File_does_not_grow_when_the_same_space_is_freed_and_used_again()
    {
        using var run = new OneImage(OneImage.Make("cluster_size=512,refcount_bits=64", "4M"));
        long settled = 0;
        for (var round = 0; round < 30; round++)
        {
            Assert.Equal(0, run.Write((round % 3) << 20, 1 << 20, (byte)round));
            Assert.Equal(0, run.Flush());
            Assert.Equal(0, run.Discard((round % 3) << 20, 1 << 20));
            Assert.Equal(0, run.Flush());
            run.Loop.RunUntilIdle();
            if (round == 5)
                settled = run.Storage.Length;
        }

        Assert.InRange(run.Storage.Length, 0, settled);
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void Read_of_many_clusters_fails_whole_when_one_part_fails()
    {
        using var run =
            new OneImage(
                OneImage.Make("cluster_size=4096", "1M", "write -P 1 128k 4k", "write -P 1 64k 4k", "write -P 1 0 64k",
                    "write -P 1 68k 60k"));
        Assert.Equal(0, run.Expect(0, 132 << 10, 1));
        var reads = 0;
        for (var failing = 0; failing < 3; failing++)
        {
            reads = 0;
            run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Read && reads++ == failing ? EIO : 0;
            Assert.Equal(-EIO, run.Expect(0, 132 << 10, 1));
        }

        run.Storage.Fault = null;
        Assert.Equal(0, run.Expect(0, 132 << 10, 1));
        run.Close();
    }

    [Theory]
    [InlineData(65536)]
    [InlineData(2 << 20)]
    public void Partial_write_to_a_recycled_cluster_shows_nothing_of_its_past(int cluster)
    {
        using var run =
            new OneImage(OneImage.Make($"cluster_size={cluster}", "16M", $"write -P 1 0 {cluster}", $"write -z {4 * cluster} {cluster}"));
        // What was there stays in the file: no hole is punched.
        run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Punch ? EOPNOTSUPP : 0;
        Assert.Equal(0, run.Discard(0, cluster));
        Assert.Equal(0, run.Flush());
        run.Loop.RunUntilIdle();

        Assert.Equal(0, run.Write((2L * cluster) + 4096, 512, 2));
        Assert.Equal(0, run.Write((4L * cluster) + 512, 512, 3));

        Assert.Equal((0, 0, 0),
            (run.Expect(2L * cluster, 4096, 0), run.Expect((2L * cluster) + 4096, 512, 2),
                run.Expect((2L * cluster) + 4608, cluster - 4608, 0)));
        Assert.Equal((0, 0, 0),
            (run.Expect(4L * cluster, 512, 0), run.Expect((4L * cluster) + 512, 512, 3),
                run.Expect((4L * cluster) + 1024, cluster - 1024, 0)));
        run.Close();
    }
}
