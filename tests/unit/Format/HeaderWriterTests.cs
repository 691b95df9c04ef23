using System;
using System.IO;
using System.Linq;
using System.Text;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Headers that qemu-img wrote, parsed and written again: the same bytes.</summary>
public sealed class HeaderWriterTests
{
    private static readonly HeaderContent s_plain = new()
    {
        Version = 3,
        ClusterBits = 16,
        Size = 1 << 30,
        L1Size = 2,
        L1TableOffset = new HostOffset(0x30000),
        RefcountTableOffset = new HostOffset(0x10000),
        RefcountTableClusters = 1,
    };

    public static TheoryData<string, string> Images()
    {
        var images = new TheoryData<string, string>();
        foreach (var size in (int[])[512, 4096, 8192, 65536, 2097152])
        {
            images.Add("", $"compat=0.10,cluster_size={size}");
            images.Add("", $"compat=1.1,cluster_size={size}");
            images.Add("base", $"compat=0.10,cluster_size={size}");
            images.Add("base", $"compat=1.1,cluster_size={size},compression_type=zstd,lazy_refcounts=on");
        }

        foreach (var bits in (int[])[1, 2, 4, 8, 16, 32, 64])
            images.Add("", $"refcount_bits={bits}");
        images.Add("base", "extended_l2=on,cluster_size=16384");
        images.Add("", "data_file=data.raw");
        images.Add("", "data_file=data.raw,data_file_raw=on");
        images.Add("base", "data_file=data.raw");
        return images;
    }

    [Theory]
    [MemberData(nameof(Images))]
    public void Header_of_qemu_img_is_written_byte_for_byte(string backing, string options)
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        options = options.Replace("data_file=", $"data_file={directory.File("")}", StringComparison.Ordinal);
        string[] overlay = backing.Length == 0 ? [] : ["-u", "-b", backing, "-F", "raw"];
        QemuImg.Run(["create", "-q", "-f", "qcow2", "-o", options, .. overlay, path, "3M"]);

        AssertWrittenAgain(path);
    }

    [Fact]
    public void Bitmaps_snapshots_and_encryption_are_written_byte_for_byte()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.CreateEncrypted(path, "luks");
        AssertWrittenAgain(path);
        QemuImg.Create(path, "3M");
        QemuImg.Run("bitmap", "--add", path, "one");
        QemuImg.Run("snapshot", "-c", "two", path);
        AssertWrittenAgain(path);
    }

    [Fact]
    public void Unknown_extensions_fields_and_feature_names_stay()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        var name = new byte[48];
        (name[0], name[1]) = ((byte)FeatureKind.Autoclear, 40);
        Encoding.ASCII.GetBytes("later").CopyTo(name, 2);
        name[10] = 0xff;
        var content = s_plain with
        {
            UnknownFields = (byte[])[1, 2, 3, 4, 5, 6, 7, 8],
            FeatureNames = new FeatureNames(name),
            UnknownExtensions = [new HeaderExtension(0x12345678, 0, [9, 8, 7]), new HeaderExtension(0x87654321, 0, [])],
            BackingFile = "base",
            BackingFormat = "raw",
        };
        QemuImg.Create(path, "1G");
        var image = new ImageBytes(path);
        HeaderWriter.Write(content, path).CopyTo(image.Bytes, 0);
        image.Save();

        // qemu keeps the fields and extensions, but not the name; so it is compared with what it writes without one.
        var ours = HeaderWriter.Write(HeaderContent.Of(image.Header), path);
        QemuImg.Run("bitmap", "--add", path, "one");
        QemuImg.Run("bitmap", "--remove", path, "one");
        var qemus = File.ReadAllBytes(path)[..65536];
        var withoutName = HeaderWriter.Write(HeaderContent.Of(image.Header) with { FeatureNames = new([]) }, path);

        Assert.Equal(image.Bytes[..65536], ours);
        Assert.Equal(120u, image.U32(HeaderField.HeaderLength));
        Assert.Equal("later (bit 40)", image.Header.FeatureNames.NamesOf(FeatureKind.Autoclear, 1ul << 40)[0][..14]);
        Assert.Equal(Convert.ToHexString(withoutName), Convert.ToHexString(qemus));
    }

    [Fact]
    public void Bitmaps_that_are_not_trusted_any_more_are_left_out()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "3M");
        var empty = new ImageBytes(path).Header;
        QemuImg.Run("bitmap", "--add", path, "one");
        var image = new ImageBytes(path);
        image.Put64(HeaderField.AutoclearFeatures, 0);

        var again = Parse(HeaderWriter.Write(HeaderContent.Of(image.Header), path));

        Assert.Equal(empty.Extensions.Select(e => e.Type), again.Extensions.Select(e => e.Type));
    }

    [Theory]
    [InlineData(1023, 0, true)]
    [InlineData(1024, 0, false)]
    [InlineData(1023, 65536 - 112 - 8 - 1024, false)]
    [InlineData(1023, 65536 - 112 - 8 - 1024 - 8, true)]
    public void What_does_not_fit_into_the_first_cluster_is_refused(int name, int extension, bool fits)
    {
        var content = s_plain with
        {
            BackingFile = new string('x', name),
            UnknownExtensions = extension == 0 ? [] : [new HeaderExtension(0x12345678, 0, new byte[extension])],
        };

        if (fits)
        {
            var header = Parse(HeaderWriter.Write(content, "disk"));
            Assert.Equal(content.BackingFile, header.BackingFile);
            Assert.Equal(extension == 0, header.Extensions.Any(e => e.Type == HeaderExtension.FeatureNameTable));
        }
        else
        {
            var error = Assert.Throws<ImageFormatException>(() => HeaderWriter.Write(content, "disk"));
            Assert.Equal("backing_file_name", error.Field);
        }
    }

    /// <summary>Clusters of 512 bytes: the header alone is a fifth of one.</summary>
    [Theory]
    [InlineData(3, 112)]
    [InlineData(2, 72)]
    public void Longest_name_in_the_smallest_cluster_is_that_of_qemu(int version, int header)
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        var content = s_plain with { Version = version, ClusterBits = 9, BackingFormat = "qcow2" };
        var longest = 512 - header - 16 - 8;
        string[] options = ["create", "-q", "-u", "-f", "qcow2", "-o", $"cluster_size=512,compat=v{version}", "-F", "qcow2", "-b"];

        HeaderWriter.Write(content with { BackingFile = new string('x', longest) }, path);
        QemuImg.Run([.. options, new string('x', longest), path, "1M"]);
        var longer = content with { BackingFile = new string('x', longest + 1) };
        var error = Assert.Throws<ImageFormatException>(() => HeaderWriter.Write(longer, path));
        Assert.NotEqual(0, QemuImg.Try([.. options, new string('x', longest + 1), path, "1M"]).ExitCode);

        Assert.Contains("512 bytes", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_that_could_not_be_read_again_are_refused()
    {
        foreach (var (name, why) in ((string, string)[])[("", "is empty"), ("a\0b", "zero byte"), ("\ud800", "UTF-8")])
        {
            foreach (var content in (HeaderContent[])[s_plain with { BackingFile = name }, s_plain with { DataFileName = name }])
            {
                var error = Assert.Throws<ImageFormatException>(() => HeaderWriter.Write(content, "disk"));
                Assert.Contains(why, error.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void Contradictions_are_mistakes_of_the_caller()
    {
        HeaderContent[] wrong =
        [
            s_plain with { Version = 4 },
            s_plain with { ClusterBits = 8 },
            s_plain with { Version = 2, Compatible = CompatibleFeatures.LazyRefcounts },
            s_plain with { Version = 2, RefcountOrder = 3 },
            s_plain with { UnknownFields = new byte[4] },
            s_plain with { CompressionType = CompressionType.Zstd },
            s_plain with { CryptMethod = 2 },
            s_plain with { Autoclear = AutoclearFeatures.Bitmaps },
            s_plain with { Autoclear = AutoclearFeatures.RawExternalData },
            s_plain with { UnknownExtensions = [new HeaderExtension(HeaderExtension.Bitmaps, 0, [])] },
        ];
        foreach (var content in wrong)
            Assert.Throws<ArgumentException>(() => HeaderWriter.Write(content, "disk"));
    }

    private static void AssertWrittenAgain(string path)
    {
        var image = new ImageBytes(path);
        var size = image.Header.ClusterSize;
        Assert.Equal(Convert.ToHexString(image.Bytes.AsSpan(0, size)),
            Convert.ToHexString(HeaderWriter.Write(HeaderContent.Of(image.Header), path)));
    }

    private static Header Parse(byte[] cluster) => Header.Parse(cluster, "disk");
}
