using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

public sealed class SnapshotTableTests
{
    [Theory]
    [InlineData("compat=0.10")]
    [InlineData("compat=1.1")]
    [InlineData("compat=1.1,cluster_size=512")]
    public void Snapshots_are_those_that_qemu_lists(string options)
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "3M", options);
        foreach (var name in (string[])["a", "zweite Sicherung ü", "a", new string('n', 200)])
            QemuImg.Run("snapshot", "-c", name, path);
        var image = new ImageBytes(path);

        var snapshots = Parse(image, out var used);

        var listed = QemuImg.Info(path).GetProperty("snapshots");
        Assert.Equal(4, snapshots.Count);
        for (var i = 0; i < 4; i++)
        {
            var theirs = listed[i];
            var ours = snapshots[i];
            Assert.Equal(theirs.GetProperty("id").GetString(), ours.Id);
            Assert.Equal(theirs.GetProperty("name").GetString(), ours.Name);
            Assert.Equal(theirs.GetProperty("vm-state-size").GetUInt64(), ours.VmStateSize);
            Assert.Equal(theirs.GetProperty("date-sec").GetUInt32(), ours.DateSeconds);
            Assert.Equal(theirs.GetProperty("date-nsec").GetUInt32(), ours.DateNanoseconds);
            Assert.Equal(theirs.GetProperty("vm-clock-nsec").GetUInt64(), ours.VmClockNanoseconds % 1_000_000_000);
            Assert.Equal(theirs.TryGetProperty("icount", out var icount) ? icount.GetUInt64() : null, ours.Icount);
            Assert.Equal(3ul << 20, ours.DiskSize);
            Assert.Equal(image.Header.L1Size, ours.L1Size);
            ours.CheckL1(image.Header, image.Bytes.LongLength);
        }

        Assert.InRange(used, snapshots[3].EntryOffset + SnapshotTable.MinEntryLength + 200, image.Bytes.Length);
    }

    [Fact]
    public void Snapshot_keeps_the_size_the_disk_had()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "3M");
        QemuImg.Run("snapshot", "-c", "small", path);
        QemuImg.Run("resize", "-q", path, "5M");
        var image = new ImageBytes(path);

        Assert.Equal(3ul << 20, Parse(image, out _)[0].DiskSize);
        Assert.Equal(5L << 20, image.Header.Size);
    }

    [Fact]
    public void Every_cut_of_the_table_is_refused()
    {
        using var directory = new TempDirectory();
        var image = TwoSnapshots(directory);
        var table = Table(image);
        Parse(image, out var used);

        Assert.Equal(2, SnapshotTable.Parse(table.AsSpan(0, used), 2, "x", out _).Count);
        for (var length = 0; length < used; length++)
        {
            var error = Assert.Throws<ImageFormatException>(() => SnapshotTable.Parse(table.AsSpan(0, length), 2, "x", out _));
            Assert.Equal("snapshot_table", error.Field);
        }
    }

    [Theory]
    [InlineData(36, 1025u, "extra_data_size 1025")]
    [InlineData(36, uint.MaxValue, "extra_data_size 4294967295")]
    [InlineData(8, (4u << 20) + 1, "l1_size 4194305")]
    [InlineData(8, uint.MaxValue, "l1_size 4294967295")]
    [InlineData(0, 0x0100_0000u, "l1_table_offset 0x1000000")]
    public void Field_beyond_its_limit_is_refused_and_named(int field, uint value, string says)
    {
        using var directory = new TempDirectory();
        var table = Table(TwoSnapshots(directory));
        BinaryPrimitives.WriteUInt32BigEndian(table.AsSpan(field), value);

        var error = Assert.Throws<ImageFormatException>(() => SnapshotTable.Parse(table, 2, "x", out _));

        Assert.Contains("entry 0", error.Message);
        Assert.Contains(says, error.Message);
    }

    [Fact]
    public void Entry_without_extra_data_has_32_bit_vm_state_and_no_size()
    {
        var table = new byte[44];
        BinaryPrimitives.WriteUInt16BigEndian(table.AsSpan(12), 1);
        BinaryPrimitives.WriteUInt16BigEndian(table.AsSpan(14), 3);
        BinaryPrimitives.WriteUInt32BigEndian(table.AsSpan(32), 77);
        "1old"u8.CopyTo(table.AsSpan(40));

        var entry = Assert.Single(SnapshotTable.Parse(table, 1, "x", out var used));

        Assert.Equal(("1", "old", 77ul, null, null), (entry.Id, entry.Name, entry.VmStateSize, entry.DiskSize, entry.Icount));
        Assert.Equal(44, used);
    }

    [Fact]
    public void L1_table_of_a_snapshot_is_checked_before_use()
    {
        using var directory = new TempDirectory();
        var image = TwoSnapshots(directory);
        var good = Parse(image, out _)[0];
        var length = image.Bytes.LongLength;

        Refused(good with { L1TableOffset = new HostOffset(0x10200) }, "l1_table_offset 0x10200");
        Refused(good with { L1TableOffset = new HostOffset((length + 65535) & -65536) }, "not within the file");
        Refused(good with { L1TableOffset = new HostOffset(0) }, "not within the file");
        Refused(good with { L1Size = 0 }, "l1_size 0 is too small");
        Refused(good with { DiskSize = ulong.MaxValue }, "is too small");

        void Refused(SnapshotEntry entry, string says) =>
            Assert.Contains(says, Assert.Throws<ImageFormatException>(() => entry.CheckL1(image.Header, length)).Message);
    }

    [Fact]
    public void Space_for_the_table_is_bounded_by_the_file_and_not_by_the_count()
    {
        Assert.Equal(100, SnapshotTable.MaxBytes(65536, new HostOffset(65536), 65636));
        Assert.Equal(0, SnapshotTable.MaxBytes(65536, new HostOffset(65536), 1000));
        Assert.Equal(Limits.MaxSnapshotTableBytes, SnapshotTable.MaxBytes(65536, new HostOffset(0), long.MaxValue));
    }

    private static ImageBytes TwoSnapshots(TempDirectory directory)
    {
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "3M");
        QemuImg.Run("snapshot", "-c", "first", path);
        QemuImg.Run("snapshot", "-c", "second", path);
        return new ImageBytes(path);
    }

    private static byte[] Table(ImageBytes image) => image.Bytes[(int)image.Header.SnapshotsOffset.Value..];

    private static IReadOnlyList<SnapshotEntry> Parse(ImageBytes image, out int used) =>
        SnapshotTable.Parse(Table(image), image.Header.SnapshotCount, image.Path, out used);
}
