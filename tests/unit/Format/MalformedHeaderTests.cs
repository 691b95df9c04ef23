using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>
/// One field of a good image is damaged: qemu refuses it, and so do we, naming the field. The last part is what qemu
/// lets pass and we do not.
/// </summary>
public sealed class MalformedHeaderTests
{
    /// <summary>The defect, what the message must say beside the field's name, and the damage done to a v3 image of 64 KiB
    /// clusters.</summary>
    private sealed record Defect(string Field, string Says, Action<ImageBytes> Damage);

    private const int Extensions = 112;

    private static readonly Dictionary<string, Defect> s_refusedByQemuToo = new()
    {
        ["magic"] = new("magic", "0x514649fc", i => i.Bytes[3] = 0xfc),
        ["empty file"] = new("magic", "only 0 bytes", i => i.Bytes = []),
        ["version 1"] = new("version", "version 1 ", i => i.Put32(HeaderField.Version, 1)),
        ["version 4"] = new("version", "version 4 ", i => i.Put32(HeaderField.Version, 4)),
        ["cluster_bits 8"] = new("cluster_bits", "cluster_bits 8 ", i => i.Put32(HeaderField.ClusterBits, 8)),
        ["cluster_bits 22"] = new("cluster_bits", "cluster_bits 22 ", i => i.Put32(HeaderField.ClusterBits, 22)),
        ["cluster_bits 2^31"] = new("cluster_bits", "cluster_bits 2147483648 ", i => i.Put32(HeaderField.ClusterBits, 1u << 31)),
        ["header_length 96"] = new("header_length", "header_length 96 ", i => i.Put32(HeaderField.HeaderLength, 96)),
        ["header_length past cluster"] = new("header_length", "header_length 65544 ", i => i.Put32(HeaderField.HeaderLength, 65544)),
        ["header_length 108"] = new("header_length", "header_length 108 ", i => i.Put32(HeaderField.HeaderLength, 108)),
        ["cut in the v2 part"] = new("header_length", "40 bytes", i => i.Bytes = i.Bytes[..40]),
        ["cut in the v3 part"] = new("header_length", "100 bytes", i => i.Bytes = i.Bytes[..100]),
        ["unknown incompatible bit"] = new("incompatible_features", "bit 5", i => i.Put64(HeaderField.IncompatibleFeatures, 1 << 5)),
        ["incompatible bit 63"] = new("incompatible_features", "bit 63", i => i.Put64(HeaderField.IncompatibleFeatures, 1ul << 63)),
        ["compression bit with zlib"] = new("compression_type", "0 (zlib)", i => i.Put64(HeaderField.IncompatibleFeatures, 8)),
        ["zstd without bit"] = new("compression_type", "is 1, but", i => i.Bytes[HeaderField.CompressionType] = 1),
        ["compression_type 2"] = new("compression_type", "compression_type 2 ", i =>
        {
            i.Bytes[HeaderField.CompressionType] = 2;
            i.Put64(HeaderField.IncompatibleFeatures, 8);
        }),
        ["data file without name"] = new("data_file", "name is missing", i => i.Put64(HeaderField.IncompatibleFeatures, 4)),
        ["raw data without data file"] = new("autoclear_features", "raw external data", i => i.Put64(HeaderField.AutoclearFeatures, 2)),
        ["refcount_order 7"] = new("refcount_order", "refcount_order 7 ", i => i.Put32(HeaderField.RefcountOrder, 7)),
        ["refcount_order 2^31"] = new("refcount_order", "refcount_order 2147483648 ", i => i.Put32(HeaderField.RefcountOrder, 1u << 31)),
        ["no refcount table"] = new("refcount_table_clusters", "is 0", i => i.Put32(HeaderField.RefcountTableClusters, 0)),
        ["refcount table too large"] = new("refcount_table_clusters", "129 is too large",
            i => i.Put32(HeaderField.RefcountTableClusters, 129)),
        ["refcount table unaligned"] = new("refcount_table_offset", "0x12345", i => i.Put64(HeaderField.RefcountTableOffset, 0x12345)),
        ["refcount table beyond 63 bits"] =
        new("refcount_table_offset", "0xffffffffffff0000", i => i.Put64(HeaderField.RefcountTableOffset, 0xffff_ffff_ffff_0000)),
        ["L1 too small"] = new("l1_size", "l1_size 0 is too small", i => i.Put32(HeaderField.L1Size, 0)),
        ["L1 too small for size"] = new("l1_size", "needs 2 entries", i => i.Put64(HeaderField.Size, (512ul << 20) + 1)),
        ["L1 too large"] = new("l1_size", "4194305 is too large", i => i.Put32(HeaderField.L1Size, (4 << 20) + 1)),
        ["L1 unaligned"] = new("l1_table_offset", "0x30200", i => i.Put64(HeaderField.L1TableOffset, 0x30200)),
        ["L1 beyond 63 bits"] = new("l1_table_offset", "0x8000000000000000", i => i.Put64(HeaderField.L1TableOffset, 1ul << 63)),
        ["size 2^63"] = new("size", "size 9223372036854775808 is too big", i => i.Put64(HeaderField.Size, 1ul << 63)),
        ["size 2^64-1"] = new("size", "size 18446744073709551615 is too big", i => i.Put64(HeaderField.Size, ulong.MaxValue)),
        ["too many snapshots"] = new("nb_snapshots", "nb_snapshots 65537 ", i => i.Put32(HeaderField.SnapshotCount, 65537)),
        ["snapshot table unaligned"] = new("snapshots_offset", "0x10001", i =>
        {
            i.Put32(HeaderField.SnapshotCount, 1);
            i.Put64(HeaderField.SnapshotsOffset, 0x10001);
        }),
        ["backing name outside cluster"] = new("backing_file_offset", "0x10001", i => i.Put64(HeaderField.BackingFileOffset, 0x10001)),
        ["backing name too long"] = new("backing_file_size", "backing_file_size 1024 ", i => PutBacking(i, 0x1000, 1024)),
        ["backing name across the cluster's end"] = new("backing_file_size", "backing_file_size 17 ", i => PutBacking(i, 0xfff0, 17)),
        ["backing name 2^32-1 bytes"] = new("backing_file_size", "4294967295", i => PutBacking(i, 0x1000, uint.MaxValue)),
        ["crypt_method 3"] = new("crypt_method", "crypt_method 3 ", i => i.Put32(HeaderField.CryptMethod, 3)),
        ["LUKS without header"] = new("crypt_method", "extension is missing", i => i.Put32(HeaderField.CryptMethod, 2)),
        ["LUKS header without LUKS"] =
        new("crypt_method", "crypt_method is 0", i => PutExtension(i, HeaderExtension.FullDiskEncryption, new byte[16])),
        ["extension too large"] = new("header_extension", "0x12345678", i =>
        {
            i.Put32(Extensions, 0x12345678);
            i.Put32(Extensions + 4, 0xffff_fff8);
        }),
        ["end marker with a length"] = new("header_extension", "0x00000000", i =>
        {
            i.Put32(Extensions, HeaderExtension.End);
            i.Put32(Extensions + 4, 0x20000);
        }),
        ["format name too long"] = new("backing_format", "16 bytes", i => PutExtension(i, HeaderExtension.BackingFormat, new byte[16])),
        ["extended L2 with small clusters"] = new("cluster_bits", "cluster_bits 13 ", i =>
        {
            i.Put32(HeaderField.ClusterBits, 13);
            i.Put64(HeaderField.IncompatibleFeatures, 16);
        }),
        ["no bitmaps"] = new("nb_bitmaps", "nb_bitmaps 0 ", i => PutBitmaps(i, 0, 0, 64, 0x30000)),
        ["too many bitmaps"] = new("nb_bitmaps", "nb_bitmaps 65536 ", i => PutBitmaps(i, 65536, 0, 64, 0x30000)),
        ["bitmaps reserved field"] = new("reserved", "0x1,", i => PutBitmaps(i, 1, 1, 64, 0x30000)),
        ["bitmap directory too large"] = new("bitmap_directory_size", "67107841", i => PutBitmaps(i, 1, 0, 67107841, 0x30000)),
        ["bitmap directory unaligned"] = new("bitmap_directory_offset", "0x30008", i => PutBitmaps(i, 1, 0, 64, 0x30008)),
        ["bitmaps extension length"] = new("length", "16 bytes", i =>
        {
            i.Put64(HeaderField.AutoclearFeatures, 1);
            PutExtension(i, HeaderExtension.Bitmaps, new byte[16]);
        }),
    };

    private static readonly Dictionary<string, Defect> s_refusedByUs = new()
    {
        ["backing name inside the header"] = new("backing_file_offset", "0x40 is inside the header", i => PutBacking(i, 64, 4)),
        ["backing name with a zero byte"] = new("backing_file_name", "zero byte", i => PutBacking(i, 0x1000, "a\0b"u8)),
        ["backing name not UTF-8"] = new("backing_file_name", "a\\xffb", i => PutBacking(i, 0x1000, [0x61, 0xff, 0x62])),
        ["extension twice"] = new("header_extension", "twice", i =>
        {
            PutExtension(i, HeaderExtension.BackingFormat, "raw"u8);
            i.Put32(Extensions + 16, HeaderExtension.BackingFormat);
            i.Put32(Extensions + 20, 0);
        }),
        ["L1 beyond 56 bits"] = new("l1_table_offset", "0x100000000000000", i => i.Put64(HeaderField.L1TableOffset, 1ul << 56)),
    };

    public static TheoryData<string> QemuDefects => [.. s_refusedByQemuToo.Keys];

    public static TheoryData<string> OurDefects => [.. s_refusedByUs.Keys];

    [Theory]
    [MemberData(nameof(QemuDefects))]
    public void Defect_is_refused_as_by_qemu_and_named(string defect)
    {
        using var directory = new TempDirectory();
        var image = Damaged(directory, s_refusedByQemuToo[defect]);

        var qemu = QemuImg.Try("map", "-f", "qcow2", image.Path);

        Assert.True(qemu.ExitCode != 0, $"qemu-img accepts it: {qemu.Output}");
        AssertNamed(s_refusedByQemuToo[defect], image);
    }

    [Theory]
    [MemberData(nameof(OurDefects))]
    public void Defect_that_qemu_lets_pass_is_refused_and_named(string defect)
    {
        using var directory = new TempDirectory();
        AssertNamed(s_refusedByUs[defect], Damaged(directory, s_refusedByUs[defect]));
    }

    [Fact]
    public void Unknown_feature_is_refused_by_the_name_the_image_gives_it()
    {
        using var directory = new TempDirectory();
        var image = Good(directory);
        image.Put64(HeaderField.IncompatibleFeatures, 1 << 5 | 1 << 7);
        var entry = new byte[48];
        entry[1] = 5;
        "time travel\nqcow2blk: "u8.CopyTo(entry.AsSpan(2));
        PutExtension(image, HeaderExtension.FeatureNameTable, entry);
        image.Save();

        var qemu = QemuImg.Try("info", "-f", "qcow2", image.Path);
        var error = Assert.Throws<ImageFormatException>(() => image.Header);

        Assert.Contains("time travel", qemu.Error);
        Assert.Contains("time travel\\nqcow2blk:  (bit 5), bit 7", error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Theory]
    [InlineData(HeaderField.L1TableOffset, "l1_table_offset")]
    [InlineData(HeaderField.RefcountTableOffset, "refcount_table_offset")]
    [InlineData(HeaderField.SnapshotsOffset, "snapshots_offset")]
    public void Table_that_starts_at_the_end_of_the_file_is_refused(int field, string name)
    {
        using var directory = new TempDirectory();
        var image = Good(directory);
        var end = (image.Bytes.LongLength + 65535) & -65536;
        image.Put32(HeaderField.SnapshotCount, field == HeaderField.SnapshotsOffset ? 1u : 0);
        image.Put64(field, (ulong)end);

        var error = Assert.Throws<ImageFormatException>(() => image.Header.CheckAgainstFile(image.Bytes.LongLength));

        Assert.Equal(name, error.Field);
        Assert.Contains($"0x{end:x}", error.Message);
        Assert.Contains($"{image.Bytes.LongLength}", error.Message);
    }

    [Fact]
    public void Table_may_be_cut_short_in_its_last_cluster_only()
    {
        using var directory = new TempDirectory();
        var header = Good(directory).Header;
        var l1 = header.L1TableOffset.Value;

        header.CheckAgainstFile(l1 + 1);

        Assert.Throws<ImageFormatException>(() => header.CheckAgainstFile(l1));
    }

    [Theory]
    [InlineData(HeaderField.L1TableOffset, 0, "overlaps the header")]
    [InlineData(HeaderField.RefcountTableOffset, 0, "overlaps the header")]
    [InlineData(HeaderField.L1TableOffset, 0x10000, "overlaps the L1 table")]
    public void Overlapping_tables_are_refused(int field, long offset, string says)
    {
        using var directory = new TempDirectory();
        var image = Good(directory);
        image.Put64(field, (ulong)offset);

        var error = Assert.Throws<ImageFormatException>(() => image.Header.CheckAgainstFile(image.Bytes.LongLength));

        Assert.Contains(says, error.Message);
    }

    private static ImageBytes Good(TempDirectory directory)
    {
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1M");
        return new ImageBytes(path);
    }

    private static ImageBytes Damaged(TempDirectory directory, Defect defect)
    {
        var image = Good(directory);
        _ = image.Header;
        defect.Damage(image);
        image.Save();
        return image;
    }

    private static void AssertNamed(Defect defect, ImageBytes image)
    {
        var error = Assert.Throws<ImageFormatException>(() => image.Header);
        Assert.Equal(defect.Field, error.Field);
        Assert.Contains(defect.Says, error.Message);
        Assert.StartsWith(image.Path + ": ", error.Message);
    }

    private static void PutBacking(ImageBytes image, int offset, uint length)
    {
        image.Put64(HeaderField.BackingFileOffset, (ulong)offset);
        image.Put32(HeaderField.BackingFileSize, length);
    }

    private static void PutBacking(ImageBytes image, int offset, ReadOnlySpan<byte> name)
    {
        PutBacking(image, offset, (uint)name.Length);
        name.CopyTo(image.Bytes.AsSpan(offset));
    }

    /// <summary>Makes this the only extension.</summary>
    private static void PutExtension(ImageBytes image, uint type, ReadOnlySpan<byte> data)
    {
        image.Bytes.AsSpan(Extensions, 1024).Clear();
        image.Put32(Extensions, type);
        image.Put32(Extensions + 4, (uint)data.Length);
        data.CopyTo(image.Bytes.AsSpan(Extensions + 8));
    }

    private static void PutBitmaps(ImageBytes image, uint count, uint reserved, ulong size, ulong offset)
    {
        PutExtension(image, HeaderExtension.Bitmaps, new byte[24]);
        image.Put64(HeaderField.AutoclearFeatures, 1);
        image.Put32(Extensions + 8, count);
        image.Put32(Extensions + 12, reserved);
        image.Put64(Extensions + 16, size);
        image.Put64(Extensions + 24, offset);
    }
}
