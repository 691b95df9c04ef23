using System.Linq;
using System.Text.Json;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Headers that qemu-img wrote, read back by us and by qemu-img info.</summary>
public sealed class HeaderTests
{
    public static TheoryData<string, string> Images()
    {
        var images = new TheoryData<string, string>();
        foreach (var size in (int[])[512, 4096, 65536, 2097152])
        {
            images.Add("3M", $"compat=0.10,cluster_size={size}");
            images.Add("3M", $"compat=1.1,cluster_size={size}");
            images.Add("3M", $"compat=1.1,cluster_size={size},compression_type=zstd,lazy_refcounts=on");
        }

        foreach (var bits in (int[])[1, 2, 4, 8, 16, 32, 64])
            images.Add("1M", $"refcount_bits={bits}");
        foreach (var size in (int[])[1024, 2048, 8192, 16384, 32768, 131072, 262144, 524288, 1048576])
            images.Add("5T", $"cluster_size={(size < 16384 ? 65536 : size)},preallocation=off");
        images.Add("0", "");
        images.Add("512", "");
        images.Add("100G", "cluster_size=512");
        images.Add("10M", "extended_l2=on");
        return images;
    }

    [Theory]
    [MemberData(nameof(Images))]
    public void Fields_are_those_that_qemu_reads(string size, string options)
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, size, options);

        var info = QemuImg.Info(path);
        var data = info.GetProperty("format-specific").GetProperty("data");
        var image = new ImageBytes(path);
        var header = image.Header;

        Assert.Equal(info.GetProperty("virtual-size").GetInt64(), header.Size);
        Assert.Equal(info.GetProperty("cluster-size").GetInt32(), header.ClusterSize);
        Assert.Equal(data.GetProperty("compat").GetString() == "0.10" ? 2 : 3, header.Version);
        Assert.Equal(data.GetProperty("compression-type").GetString() == "zstd" ? CompressionType.Zstd : CompressionType.Zlib,
            header.CompressionType);
        Assert.Equal(header.Version == 3 ? data.GetProperty("refcount-bits").GetInt32() : 16, 1 << header.RefcountOrder);
        Assert.Equal(header.Version == 3 && data.GetProperty("lazy-refcounts").GetBoolean(),
            header.Compatible.HasFlag(CompatibleFeatures.LazyRefcounts));
        Assert.Equal(header.Version == 3 && data.GetProperty("extended-l2").GetBoolean(),
            header.Incompatible.HasFlag(IncompatibleFeatures.ExtendedL2));
        Assert.Equal(AutoclearFeatures.None, header.Autoclear);
        Assert.Null(header.BackingFile);
        Assert.Null(header.DataFileName);
        Assert.Null(header.Bitmaps);
        Assert.Equal(0, header.CryptMethod);
        Assert.Equal(0, header.SnapshotCount);
        Assert.Equal(header.Version == 2 ? 72 : 112, header.HeaderLength);
        header.CheckAgainstFile(image.Bytes.LongLength);
    }

    [Fact]
    public void Offsets_in_HeaderField_are_where_qemu_writes_the_fields()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1G", "lazy_refcounts=on,compression_type=zstd,refcount_bits=8,cluster_size=4096");
        QemuImg.Run("snapshot", "-c", "one", path);
        var image = new ImageBytes(path);
        var header = image.Header;

        Assert.Equal(header.Version, (int)image.U32(HeaderField.Version));
        Assert.Equal(12u, image.U32(HeaderField.ClusterBits));
        Assert.Equal(1ul << 30, image.U64(HeaderField.Size));
        Assert.Equal(512u, image.U32(HeaderField.L1Size));
        Assert.Equal(512, header.L1Size);
        Assert.Equal((ulong)header.L1TableOffset.Value, image.U64(HeaderField.L1TableOffset));
        Assert.Equal(4096ul, image.U64(HeaderField.RefcountTableOffset));
        Assert.Equal(4096, header.RefcountTableOffset.Value);
        Assert.Equal((uint)header.RefcountTableClusters, image.U32(HeaderField.RefcountTableClusters));
        Assert.Equal(1u, image.U32(HeaderField.SnapshotCount));
        Assert.Equal((ulong)header.SnapshotsOffset.Value, image.U64(HeaderField.SnapshotsOffset));
        Assert.Equal(8ul, image.U64(HeaderField.IncompatibleFeatures));
        Assert.Equal(1ul, image.U64(HeaderField.CompatibleFeatures));
        Assert.Equal(0ul, image.U64(HeaderField.AutoclearFeatures));
        Assert.Equal(3u, image.U32(HeaderField.RefcountOrder));
        Assert.Equal(112u, image.U32(HeaderField.HeaderLength));
        Assert.Equal(1, image.Bytes[HeaderField.CompressionType]);
    }

    [Theory]
    [InlineData("compat=0.10", "base.raw", "raw")]
    [InlineData("compat=1.1", "base.raw", "raw")]
    [InlineData("compat=1.1,cluster_size=512", "./böse name.raw", "raw")]
    [InlineData("compat=1.1,cluster_size=2M", "/nowhere/base.qcow2", "qcow2")]
    public void Backing_name_and_format_are_those_that_qemu_reads(string options, string name, string format)
    {
        using var directory = new TempDirectory();
        var path = directory.File("top.qcow2");
        QemuImg.Run("create", "-q", "-u", "-f", "qcow2", "-o", options, "-b", name, "-F", format, path, "1M");

        var info = QemuImg.Info(path);
        var header = new ImageBytes(path).Header;

        Assert.Equal(info.GetProperty("backing-filename").GetString(), header.BackingFile);
        Assert.Equal(info.GetProperty("backing-filename-format").GetString(), header.BackingFormat);
        Assert.Equal(info.GetProperty("full-backing-filename").GetString(), BackingPath.Resolve(path, header.BackingFile!));
        Assert.Equal(format == "raw" ? ImageFormat.Raw : ImageFormat.Qcow2, BackingFormatRule.Require(header));
    }

    [Fact]
    public void Longest_backing_name_that_qemu_writes_is_read()
    {
        using var directory = new TempDirectory();
        var path = directory.File("top.qcow2");
        var name = "/" + new string('x', 1022);
        QemuImg.Run("create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "raw", path, "1M");

        Assert.Equal(name, new ImageBytes(path).Header.BackingFile);
    }

    [Fact]
    public void External_data_file_is_named_by_the_image()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1M", $"data_file={directory.File("data.raw")},data_file_raw=on");

        var header = new ImageBytes(path).Header;

        Assert.Equal(directory.File("data.raw"), header.DataFileName);
        Assert.Equal(AutoclearFeatures.RawExternalData, header.Autoclear);
        header.RefuseUnsupported(forWriting: true);
        Assert.Equal(directory.File("data.raw"), DataFilePath.Resolve(header));
    }

    [Fact]
    public void Legacy_encryption_is_read_and_not_written()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.CreateEncrypted(path, "aes");

        var header = new ImageBytes(path).Header;

        Assert.Equal(Header.LegacyAes, header.CryptMethod);
        Assert.Null(header.Encryption);
        header.RefuseUnsupported(forWriting: false);
        var error = Assert.Throws<ImageFormatException>(() => header.RefuseUnsupported(forWriting: true));
        Assert.Equal("crypt_method", error.Field);
        Assert.Contains("legacy AES encryption can only be read", error.Message);
    }

    [Fact]
    public void Header_of_LUKS_is_found_and_must_be_where_it_can_be()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.CreateEncrypted(path, "luks");
        var image = new ImageBytes(path);

        Assert.Equal(Header.Luks, image.Header.CryptMethod);
        Assert.Equal(new EncryptionPointer(new HostOffset(0x40000), 2068480), image.Header.Encryption);
        image.Header.RefuseUnsupported(forWriting: true);
        image.Header.CheckAgainstFile(image.Bytes.Length);

        var at = image.Header.Extensions.Single(extension => extension.Type == HeaderExtension.FullDiskEncryption).Offset + 8;
        foreach (var (offset, length, field) in ((ulong, ulong, string)[])
            [
                (0x40200, 2068480, "encryption_header_offset"), (0, 2068480, "encryption_header_offset"),
                (1UL << 56, 2068480, "encryption_header_offset"), (0x40000, 591, "encryption_header_length"),
                (0x40000, 1UL << 63, "encryption_header_length"), (0x40000, (16 << 20) + 1, "encryption_header_length"),
            ])
        {
            image.Put64(at, offset);
            image.Put64(at + 8, length);
            Assert.Equal(field, Assert.Throws<ImageFormatException>(() => image.Header).Field);
        }

        // Past the end of the file, and over a table.
        foreach (var offset in (ulong[])[0x4000_0000, 0x30000])
        {
            image.Put64(at, offset);
            image.Put64(at + 8, 2068480);
            var refused = Assert.Throws<ImageFormatException>(() => image.Header.CheckAgainstFile(image.Bytes.Length));
            Assert.Contains("encryption header", refused.Message);
        }
    }

    [Fact]
    public void Corrupt_image_is_readable_and_not_writable()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1M");
        var image = new ImageBytes(path);
        image.Put64(HeaderField.IncompatibleFeatures, (ulong)IncompatibleFeatures.Corrupt);

        image.Header.RefuseUnsupported(forWriting: false);

        var error = Assert.Throws<ImageFormatException>(() => image.Header.RefuseUnsupported(forWriting: true));
        Assert.Contains("corrupt", error.Message);
    }

    [Fact]
    public void Feature_names_of_the_image_are_qemus_and_agree_with_ours()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1M");
        var header = new ImageBytes(path).Header;
        var table = header.Extensions.Single(e => e.Type == HeaderExtension.FeatureNameTable).Data;

        Assert.True(table.Length / 48 >= 8);
        for (var entry = 0; entry < table.Length; entry += 48)
        {
            var stored = System.Text.Encoding.ASCII.GetString(table, entry + 2, 46).TrimEnd('\0');
            Assert.Equal(stored, header.FeatureNames.NameOf((FeatureKind)table[entry], table[entry + 1]), ignoreCase: true);
        }

        Assert.Equal("bit 17", header.FeatureNames.NameOf(FeatureKind.Autoclear, 17));
    }

    [Fact]
    public void Unknown_compatible_and_autoclear_bits_are_kept()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1M");
        var image = new ImageBytes(path);
        image.Put64(HeaderField.CompatibleFeatures, 1ul << 40);
        image.Put64(HeaderField.AutoclearFeatures, 1ul << 63);
        image.Save();

        QemuImg.Info(path);
        Assert.Equal(1ul << 40, (ulong)image.Header.Compatible);
        Assert.Equal(1ul << 63, (ulong)image.Header.Autoclear);
    }
}
