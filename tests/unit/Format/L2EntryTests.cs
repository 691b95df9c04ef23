using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>L1 and L2 entries that qemu wrote, decoded by us and described by qemu-img map.</summary>
public sealed class L2EntryTests
{
    [Theory]
    [InlineData("compat=1.1,cluster_size=512")]
    [InlineData("compat=1.1,cluster_size=4096")]
    [InlineData("compat=1.1")]
    [InlineData("compat=1.1,cluster_size=2M")]
    [InlineData("compat=0.10,cluster_size=512")]
    [InlineData("compat=0.10")]
    public void Entries_say_what_qemu_img_map_says(string options)
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "24M", options);
        var zeroes = !options.Contains("0.10");
        var cluster = new ImageBytes(path).Header.ClusterSize;
        var commands = new List<string>
        {
            $"write -P 1 0 {cluster}", $"write -P 2 {2 * cluster} {2 * cluster}", $"write -P 3 {9 * cluster} 512",
            $"write -c -P 4 {5 * cluster} {cluster}",
        };
        if (zeroes)
            commands.AddRange([$"write -z {3 * cluster} {cluster}", $"write -z -u {7 * cluster} {cluster}"]);
        QemuImg.Io(path, commands.ToArray());
        var image = new ImageBytes(path);
        var geometry = new Geometry(image.Header);

        var decoded = image.L2Entries(image.Header.L1TableOffset, image.Header.L1Size)
            .ToDictionary(e => e.GuestCluster, e => (e.Raw, Entry: L2Entry.Decode(e.Raw, geometry)));

        Assert.Equal(L2Kind.Compressed, decoded[5].Entry.Kind);
        if (zeroes)
        {
            Assert.Equal(L2Kind.ZeroAllocated, decoded[3].Entry.Kind);
            Assert.Equal(L2Kind.Zero, decoded[7].Entry.Kind);
        }

        Assert.All(decoded.Values, e => Assert.False(L2Entry.HasReservedBits(e.Raw, geometry)));
        JsonElement[] extents = [.. QemuImg.Map(path).EnumerateArray()];
        for (long guest = 0; guest < geometry.GuestClusters; guest++)
        {
            var offset = guest * cluster;
            var extent = extents.Last(e => e.GetProperty("start").GetInt64() <= offset);
            AssertAsMapped(extent, decoded.GetValueOrDefault(guest).Entry, offset);
        }
    }

    private static void AssertAsMapped(JsonElement extent, L2Entry entry, long guest)
    {
        var zero = extent.GetProperty("zero").GetBoolean();
        var data = extent.GetProperty("data").GetBoolean();
        var present = extent.GetProperty("present").GetBoolean();
        long? host = extent.TryGetProperty("offset", out var offset)
            ? offset.GetInt64() + guest - extent.GetProperty("start").GetInt64()
            : null;
        var expected = (data, zero, present, host) switch
        {
            (true, _, _, not null) => L2Kind.Data,
            (true, _, _, null) => L2Kind.Compressed,
            (false, true, true, not null) => L2Kind.ZeroAllocated,
            (false, true, true, null) => L2Kind.Zero,
            _ => L2Kind.Unallocated,
        };
        Assert.Equal(expected, entry.Kind);
        if (host is not null)
            Assert.Equal(host, entry.Host.Value);
    }

    [Theory]
    [InlineData("cluster_size=512")]
    [InlineData("cluster_size=4096")]
    [InlineData("cluster_size=64k")]
    [InlineData("cluster_size=2M")]
    [InlineData("cluster_size=64k,compat=0.10")]
    public void Compressed_data_is_where_the_entry_says_and_no_longer(string options)
    {
        using var directory = new TempDirectory();
        string raw = directory.File("disk.raw"), path = directory.File("disk.qcow2");
        var disk = TextLikeBytes(6 << 20);
        File.WriteAllBytes(raw, disk);
        QemuImg.Run("convert", "-q", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, path);
        var image = new ImageBytes(path);
        var geometry = new Geometry(image.Header);
        var seen = 0;

        foreach ((var guest, var entry) in image.L2Entries(image.Header.L1TableOffset, image.Header.L1Size))
        {
            var decoded = L2Entry.Decode(entry, geometry);
            if (decoded.Kind != L2Kind.Compressed)
                continue;
            seen++;
            Assert.False(decoded.Copied);
            Assert.Equal(0, (decoded.Host.Value + decoded.CompressedLength) % 512);
            var length = (int)Math.Min(decoded.CompressedLength, image.Bytes.LongLength - decoded.Host.Value);
            var inflated = new byte[geometry.ClusterSize];
            using var inflate = new DeflateStream(
                new MemoryStream(image.Bytes, (int)decoded.Host.Value, length), CompressionMode.Decompress);
            inflate.ReadExactly(inflated);
            Assert.True(inflated.AsSpan().SequenceEqual(disk.AsSpan((int)(guest << geometry.ClusterBits), geometry.ClusterSize)),
                $"guest cluster {guest}");
        }

        Assert.True(seen > 0);
    }

    [Fact]
    public void Zstd_frames_start_where_the_entry_says()
    {
        using var directory = new TempDirectory();
        string raw = directory.File("disk.raw"), path = directory.File("disk.qcow2");
        File.WriteAllBytes(raw, TextLikeBytes(1 << 20));
        QemuImg.Run("convert", "-q", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", raw, path);
        var image = new ImageBytes(path);
        var geometry = new Geometry(image.Header);

        var hosts = image.L2Entries(image.Header.L1TableOffset, image.Header.L1Size)
            .Select(e => L2Entry.Decode(e.Raw, geometry)).Where(e => e.Kind == L2Kind.Compressed).ToList();

        Assert.NotEmpty(hosts);
        Assert.All(hosts, e => Assert.Equal(0x28b52ffdu, image.U32((int)e.Host.Value)));
    }

    [Fact]
    public void Copied_is_clear_on_what_a_snapshot_shares()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1M");
        QemuImg.Io(path, "write -P 1 0 128k");
        var before = Entries(path);
        QemuImg.Run("snapshot", "-c", "s", path);
        QemuImg.Io(path, "write -P 2 64k 64k");
        var after = Entries(path);

        Assert.All(before, e => Assert.True(e.Copied));
        Assert.False(after[0].Copied);
        Assert.Equal(before[0].Host, after[0].Host);
        Assert.True(after[1].Copied);
        Assert.NotEqual(before[1].Host, after[1].Host);

        static List<L2Entry> Entries(string path)
        {
            var image = new ImageBytes(path);
            var geometry = new Geometry(image.Header);
            return [.. image.L2Entries(image.Header.L1TableOffset, image.Header.L1Size).Select(e => L2Entry.Decode(e.Raw, geometry))];
        }
    }

    [Fact]
    public void Encoding_gives_back_qemus_entries()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "4M");
        QemuImg.Io(path, "write 0 1M", "write -z 64k 64k", "write -z -u 128k 64k");
        var image = new ImageBytes(path);
        var geometry = new Geometry(image.Header);
        var l1 = image.U64(image.Header.L1TableOffset.Value);

        Assert.Equal(l1, L1Entry.Encode(L1Entry.Decode(l1).Offset, L1Entry.Decode(l1).Copied));
        Assert.False(L1Entry.HasReservedBits(l1));
        Assert.True(L1Entry.Decode(l1).IsAligned(geometry));
        var kinds = new HashSet<L2Kind>();
        foreach ((_, var raw) in image.L2Entries(image.Header.L1TableOffset, image.Header.L1Size))
        {
            var entry = L2Entry.Decode(raw, geometry);
            kinds.Add(entry.Kind);
            Assert.Equal(raw, entry.Kind switch
            {
                L2Kind.Data => L2Entry.EncodeData(entry.Host, entry.Copied),
                L2Kind.Zero => L2Entry.EncodeZero(),
                L2Kind.ZeroAllocated => L2Entry.EncodeZeroAllocated(entry.Host, entry.Copied),
                _ => 0,
            });
        }

        Assert.Equal(3, kinds.Count);
    }

    [Fact]
    public void Compressed_flag_is_tested_before_the_zero_flag()
    {
        var geometry = new Geometry(16, 1 << 20);

        var entry = L2Entry.Decode(L2Entry.CompressedFlag | 0x50001, geometry);

        Assert.Equal(L2Kind.Compressed, entry.Kind);
        Assert.Equal(0x50001, entry.Host.Value);
        Assert.Equal(511, entry.CompressedLength);
    }

    [Theory]
    [InlineData(3, 0x10200ul, L2Kind.Invalid)] // not aligned to 64 KiB
    [InlineData(3, 0x8000_0000_0001_0200ul, L2Kind.Invalid)]
    [InlineData(3, 0x10201ul, L2Kind.Invalid)] // an allocated zero cluster, not aligned
    [InlineData(2, 1ul, L2Kind.Invalid)] // version 2 has no zero flag
    [InlineData(2, 0x10001ul, L2Kind.Invalid)]
    [InlineData(3, 1ul, L2Kind.Zero)]
    [InlineData(3, 0x8000_0000_0000_0000ul, L2Kind.Unallocated)] // COPIED without a cluster
    [InlineData(3, 0x3f00_0000_0001_01feul, L2Kind.Data)] // reserved bits are ignored
    public void Odd_standard_entries_are_what_qemu_takes_them_for(int version, ulong raw, L2Kind kind)
    {
        var geometry = new Geometry(16, 1 << 20, version);

        Assert.Equal(kind, L2Entry.Decode(raw, geometry).Kind);
    }

    [Theory]
    [InlineData(3, 0x10000ul, false)]
    [InlineData(3, 0x10002ul, true)]
    [InlineData(3, 0x0100_0000_0001_0000ul, true)]
    [InlineData(3, 1ul, false)]
    [InlineData(2, 1ul, true)]
    [InlineData(3, 0xc000_0000_0001_0000ul, true)] // COPIED and compressed
    [InlineData(3, 0x4000_0000_0001_0001ul, false)]
    public void Reserved_bits_are_found(int version, ulong raw, bool reserved)
    {
        var geometry = new Geometry(16, 1 << 20, version);

        Assert.Equal(reserved, L2Entry.HasReservedBits(raw, geometry));
    }

    [Fact]
    public void Compressed_offset_beyond_56_bits_is_invalid()
    {
        var geometry = new Geometry(9, 1 << 20);
        var raw = L2Entry.CompressedFlag | 1ul << 56;

        Assert.Equal(L2Kind.Invalid, L2Entry.Decode(raw, geometry).Kind);
        Assert.True(L2Entry.HasReservedBits(raw, geometry));
    }

    /// <summary>Bytes that compress to about a half, other ones in every cluster.</summary>
    private static byte[] TextLikeBytes(int length)
    {
        var random = new Random(7);
        var bytes = new byte[length];
        for (var i = 0; i < length; i++)
            bytes[i] = (byte)('a' + random.Next(8));
        return bytes;
    }
}
