using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Refcounts of all widths: qemu's blocks against a count of what refers to each cluster.</summary>
public sealed class RefcountEntriesTests
{
    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 2)]
    [InlineData(4, 14)]
    [InlineData(8, 5)]
    [InlineData(16, 3)]
    [InlineData(32, 2)]
    [InlineData(64, 2)]
    public void Refcounts_are_the_references_that_qemu_counted(int bits, int snapshots)
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "512k", $"refcount_bits={bits},cluster_size=4096");
        QemuImg.Io(path, "write -P 1 0 64k", "write -P 2 100k 40k");
        for (var i = 0; i < snapshots; i++)
            QemuImg.Run("snapshot", "-c", $"s{i}", path);
        if (snapshots > 0)
            QemuImg.Io(path, "write -P 3 8k 20k");
        QemuImg.Check(path);
        var image = new ImageBytes(path);
        var header = image.Header;
        var references = References(image);

        ulong largest = 0;
        for (long cluster = 0; cluster << header.ClusterBits < image.Bytes.LongLength; cluster++)
        {
            var refcount = Refcount(image, cluster);
            Assert.Equal(references.GetValueOrDefault(cluster << header.ClusterBits), refcount);
            largest = Math.Max(largest, refcount);
        }

        Assert.Equal((ulong)snapshots + 1, largest);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(8)]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(64)]
    public void Set_makes_the_bytes_that_qemu_wrote(int bits)
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "512k", $"refcount_bits={bits},cluster_size=512");
        QemuImg.Io(path, "write 0 64k", "write 100k 40k", "discard 4k 8k");
        if (bits > 1)
            QemuImg.Run("snapshot", "-c", "s", path);
        var image = new ImageBytes(path);
        var geometry = new Geometry(image.Header);
        Assert.True(RefcountTableEntry.TryDecode(image.U64(image.Header.RefcountTableOffset.Value), geometry, out var offset));
        var theirs = image.Cluster(offset, geometry.ClusterSize);
        var ours = new byte[geometry.ClusterSize];
        new Random(1).NextBytes(ours);

        for (var i = 0; i < geometry.RefcountBlockEntries; i++)
            RefcountEntries.Set(ours, i, geometry.RefcountOrder, RefcountEntries.Get(theirs, i, geometry.RefcountOrder));

        Assert.Equal(theirs, ours);
        Assert.Contains(theirs, b => b != 0);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public void Set_leaves_neighbours_alone(int order)
    {
        var block = new byte[512];
        new Random(order).NextBytes(block);
        var entries = 4096 >> order;
        var index = entries / 2 + 1;
        ulong before = RefcountEntries.Get(block, index - 1, order), after = RefcountEntries.Get(block, index + 1, order);

        foreach (var value in (ulong[])[0, RefcountEntries.Max(order), 1])
        {
            RefcountEntries.Set(block, index, order, value);
            Assert.Equal(value, RefcountEntries.Get(block, index, order));
            Assert.Equal(before, RefcountEntries.Get(block, index - 1, order));
            Assert.Equal(after, RefcountEntries.Get(block, index + 1, order));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public void IndexOfZero_finds_what_a_plain_scan_finds(int order)
    {
        var random = new Random(order);
        var block = new byte[512];
        var entries = 4096 >> order;
        for (var round = 0; round < 2000; round++)
        {
            block.AsSpan().Fill((byte)random.Next(1, 256));
            for (var i = 0; i < entries; i++)
                RefcountEntries.Set(block, i, order, RefcountEntries.Max(order) & (ulong)random.NextInt64() | 1);
            for (var zeros = random.Next(4); zeros > 0; zeros--)
                RefcountEntries.Set(block, random.Next(entries), order, 0);
            int start = random.Next(entries + 1), count = random.Next(entries - start + 1);

            Assert.Equal(PlainScan(block, start, count, order), RefcountEntries.IndexOfZero(block, start, count, order));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(6)]
    public void Entries_outside_the_block_are_never_touched(int order)
    {
        var block = new byte[512];
        var entries = 4096 >> order;

        Assert.ThrowsAny<SystemException>(() => RefcountEntries.Get(block, entries, order));
        Assert.ThrowsAny<SystemException>(() => RefcountEntries.Get(block, -1, order));
        Assert.ThrowsAny<SystemException>(() => RefcountEntries.Set(block, entries, order, 0));
        Assert.ThrowsAny<SystemException>(() => RefcountEntries.IndexOfZero(block, 1, entries, order));
        if (order < 6)
            Assert.Throws<ArgumentOutOfRangeException>(() => RefcountEntries.Set(block, 0, order, RefcountEntries.Max(order) + 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => RefcountEntries.Set(block, 0, 7, 0));
    }

    [Fact]
    public void Refcount_block_that_is_unaligned_or_too_far_is_corrupt()
    {
        var geometry = new Geometry(16, 1 << 20);

        Assert.False(RefcountTableEntry.TryDecode(0x10200, geometry, out _));
        Assert.False(RefcountTableEntry.TryDecode(0x8000_0000_0001_0000, geometry, out _));
        Assert.True(RefcountTableEntry.TryDecode(0x10000 | RefcountTableEntry.ReservedMask, geometry, out var block));
        Assert.Equal(0x10000, block.Value);
    }

    private static int PlainScan(byte[] block, int start, int count, int order)
    {
        for (var i = start; i < start + count; i++)
        {
            if (RefcountEntries.Get(block, i, order) == 0)
                return i;
        }

        return -1;
    }

    private static ulong Refcount(ImageBytes image, long cluster)
    {
        var geometry = new Geometry(image.Header);
        var raw = image.U64(image.Header.RefcountTableOffset.Value + cluster / geometry.RefcountBlockEntries * 8);
        Assert.True(RefcountTableEntry.TryDecode(raw, geometry, out var block));
        return block.Value == 0 ? 0 : RefcountEntries.Get(
            image.Cluster(block, geometry.ClusterSize), (int)(cluster % geometry.RefcountBlockEntries), geometry.RefcountOrder);
    }

    /// <summary>How often each host cluster is referred to, by its offset.</summary>
    private static Dictionary<long, ulong> References(ImageBytes image)
    {
        var header = image.Header;
        var geometry = new Geometry(header);
        var references = new Dictionary<long, ulong>();
        Add(0, header.ClusterSize);
        Add(header.RefcountTableOffset.Value, (long)header.RefcountTableClusters * header.ClusterSize);
        for (var i = 0; i < header.RefcountTableClusters * header.ClusterSize / 8; i++)
        {
            var block = image.U64(header.RefcountTableOffset.Value + i * 8L);
            if (block != 0)
                Add((long)block, header.ClusterSize);
        }

        AddL1(header.L1TableOffset, header.L1Size);
        if (header.SnapshotCount > 0)
        {
            var table = SnapshotTable.Parse(image.Bytes.AsSpan((int)header.SnapshotsOffset.Value), header.SnapshotCount, image.Path,
                out var used);
            Add(header.SnapshotsOffset.Value, used);
            foreach (var snapshot in table)
                AddL1(snapshot.L1TableOffset, snapshot.L1Size);
        }

        return references;

        void AddL1(HostOffset table, int size)
        {
            Add(table.Value, size * 8L);
            for (var i = 0; i < size; i++)
            {
                var entry = L1Entry.Decode(image.U64(table.Value + i * 8L));
                if (!entry.IsEmpty)
                    Add(entry.Offset.Value, header.ClusterSize);
            }

            foreach ((_, var raw) in image.L2Entries(table, size))
            {
                if (L2Entry.Decode(raw, geometry).Host.Value is > 0 and long host)
                    Add(host, header.ClusterSize);
            }
        }

        void Add(long offset, long length)
        {
            for (var at = offset; at < offset + length; at += header.ClusterSize)
                references[at] = references.GetValueOrDefault(at) + 1;
        }
    }
}
