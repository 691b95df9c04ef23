using System;
using System.IO;
using Qcow2Blk.Creation;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Creation;

/// <summary>New images next to those that qemu-img makes with the same options.</summary>
public sealed class ImageCreationTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    public static TheoryData<string, string> SameAsQemu()
    {
        var images = new TheoryData<string, string>();
        foreach (var size in (string[])["0", "512", "1000", "3M", "300K", "5T"])
            images.Add(size, "");
        foreach (var cluster in (string[])["512", "1k", "4k", "8k", "16k", "128k", "1M", "2M"])
        {
            images.Add("3M", $"cluster_size={cluster}");
            images.Add("3M", $"cluster_size={cluster},compat=0.10");
            images.Add("5G", $"cluster_size={cluster},refcount_bits=64");
            images.Add("33M", $"cluster_size={cluster},preallocation=metadata,refcount_bits={(cluster == "512" ? 1 : 16)}");
        }

        foreach (var bits in (int[])[1, 2, 4, 8, 16, 32, 64])
        {
            images.Add("1M", $"refcount_bits={bits},cluster_size=4k");
            foreach (var size in (string[])["100K", "1M", "1100K", "1900K"])
                images.Add(size, $"refcount_bits={bits},cluster_size=512,preallocation=metadata");
            images.Add("300M", $"refcount_bits={bits},cluster_size=4k,preallocation=metadata");
        }

        // Every place where a run of clusters can meet the border of a refcount block.
        for (var kilobytes = 24; kilobytes < 40; kilobytes++)
            images.Add($"{kilobytes}K", "refcount_bits=64,cluster_size=512,preallocation=metadata");
        images.Add("3G", "cluster_size=512");
        images.Add("1M", "lazy_refcounts=on,compression_type=zstd");
        images.Add("1M", "extended_l2=on");
        images.Add("70M", "extended_l2=on,cluster_size=16k,preallocation=metadata");
        images.Add("301K", "extended_l2=on,cluster_size=16k,preallocation=metadata");
        images.Add("9G", "preallocation=metadata");
        return images;
    }

    [Theory]
    [MemberData(nameof(SameAsQemu))]
    public void Image_is_qemus_byte_for_byte(string size, string options)
    {
        string ours = _directory.File("ours.qcow2"), qemus = _directory.File("qemus.qcow2");
        QemuImg.Create(qemus, size, options);

        Create(ours, size, options);

        AssertSame(qemus, ours);
        QemuImg.Check(ours);
    }

    [Theory]
    [InlineData("compat=1.1")]
    [InlineData("compat=0.10")]
    [InlineData("cluster_size=512")]
    [InlineData("extended_l2=on,preallocation=metadata")]
    public void Overlay_is_qemus_byte_for_byte_and_as_large_as_what_is_below(string options)
    {
        File.WriteAllBytes(_directory.File("base.raw"), new byte[700_000]);
        string ours = _directory.File("ours.qcow2"), qemus = _directory.File("qemus.qcow2");
        QemuImg.Run("create", "-q", "-f", "qcow2", "-o", options, "-b", "base.raw", "-F", "raw", qemus);

        Create(ours, null, options + ",backing_file=base.raw,backing_fmt=raw");

        AssertSame(qemus, ours);
        Assert.Equal(700_416, new ImageBytes(ours).Header.Size);
    }

    [Theory]
    [InlineData("")]
    [InlineData(",data_file_raw=on")]
    [InlineData(",preallocation=metadata,extended_l2=on")]
    [InlineData(",preallocation=falloc")]
    [InlineData(",preallocation=full,cluster_size=4k")]
    public void Image_with_data_file_is_qemus_byte_for_byte(string options)
    {
        // The name is in the header, so both have the same.
        string data = _directory.File("data.raw"), ours = _directory.File("ours.qcow2"), qemus = _directory.File("qemus.qcow2");
        QemuImg.Create(qemus, "5M", $"data_file={data}{options}");
        var length = new FileInfo(data).Length;
        File.Delete(data);

        Create(ours, "5M", $"data_file={data}{options}");

        AssertSame(qemus, ours);
        Assert.Equal(length, new FileInfo(data).Length);
        QemuImg.Check(ours);
    }

    /// <summary>qemu-img makes the data file as long as whole clusters: a raw disk of another size.</summary>
    [Fact]
    public void Raw_data_file_is_as_long_as_the_disk()
    {
        Create(_directory.File("disk.qcow2"), "300K", $"data_file={_directory.File("data.raw")},data_file_raw=on");

        Assert.Equal(300 << 10, new FileInfo(_directory.File("data.raw")).Length);
        QemuImg.Io(_directory.File("disk.qcow2"), "write -P 7 290k 10k", "read -P 7 290k 10k");
        QemuImg.Check(_directory.File("disk.qcow2"));
    }

    /// <summary>
    /// qemu-img puts a second refcount table behind what it reserves, and grows tables in steps; ours has its size from the start.
    /// </summary>
    [Theory]
    [InlineData("10M", "preallocation=falloc")]
    [InlineData("10M", "preallocation=full")]
    [InlineData("10M", "preallocation=full,extended_l2=on")]
    [InlineData("10M", "preallocation=falloc,compat=0.10,cluster_size=4k")]
    [InlineData("20M", "preallocation=metadata,cluster_size=512")]
    [InlineData("20M", "preallocation=metadata,cluster_size=512,refcount_bits=64")]
    [InlineData("30G", "cluster_size=512")]
    public void Image_is_sound_where_its_layout_is_ours(string size, string options)
    {
        var path = _directory.File("disk.qcow2");

        Create(path, size, options);

        QemuImg.Check(path);
        QemuImg.Io(path, "read -P 0 0 10M", "write -P 5 1M 2M", "read -P 5 1M 2M", "read -P 0 3M 1M");
        QemuImg.Check(path);
    }

    [Theory]
    [InlineData("falloc")]
    [InlineData("full")]
    public void Space_is_really_there(string mode)
    {
        var path = _directory.File("disk.qcow2");

        Create(path, "10M", $"preallocation={mode}");

        var actual = QemuImg.Info(path).GetProperty("actual-size").GetInt64();
        Assert.InRange(actual, 10 << 20, 11 << 20);
    }

    private static void Create(string path, string? size, string options)
    {
        var wanted = new CreateOptions { Image = path };
        if (options.Length > 0)
            wanted = CreateOptionTable.SetAll(wanted, options.TrimStart(','));
        if (size is not null)
            wanted = CreateOptionTable.Set(wanted, "size", size);
        ImageCreation.Create(wanted);
    }

    private static void AssertSame(string expected, string actual)
    {
        using FileStream left = File.OpenRead(expected), right = File.OpenRead(actual);
        Assert.Equal(left.Length, right.Length);
        // Preallocated files are long, and empty behind their tables.
        byte[] a = new byte[1 << 20], b = new byte[1 << 20];
        for (var offset = 0L; offset < Math.Min(left.Length, 256L << 20); offset += a.Length)
        {
            var count = left.ReadAtLeast(a, a.Length, throwOnEndOfStream: false);
            right.ReadAtLeast(b, b.Length, throwOnEndOfStream: false);
            var difference = a.AsSpan(0, count).CommonPrefixLength(b.AsSpan(0, count));
            Assert.True(difference == count, $"byte 0x{offset + difference:x}");
        }
    }
}
