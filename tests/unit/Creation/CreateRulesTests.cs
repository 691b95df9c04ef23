using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Creation;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Creation;

/// <summary>What qemu-img refuses is refused, and nothing is left behind.</summary>
public sealed class CreateRulesTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public CreateRulesTests() => File.WriteAllBytes(_directory.File("base.raw"), new byte[1 << 20]);

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("1M", "foo=1", "\"foo\" is not an option of create: it must be one of")]
    [InlineData("1M", "cluster_sise=4k", "did you mean cluster_size?")]
    [InlineData("1M", "cluster_size", "options are NAME=VALUE")]
    [InlineData("1M", "compat=0.10,refcount_bits=8", "refcount_bits=8 is not possible: version 2 of the format has no such thing")]
    [InlineData("1M", "compat=0.10,lazy_refcounts=on", "lazy_refcounts=on is not possible")]
    [InlineData("1M", "compat=0.10,compression_type=zstd", "compression_type=zstd is not possible")]
    [InlineData("1M", "compat=0.10,extended_l2=on", "extended_l2=on is not possible")]
    [InlineData("1M", "compat=0.10,data_file=DIR/data.raw", "data.raw is not possible")]
    [InlineData("1M", "compat=1.2", "compat=1.2 is not possible")]
    [InlineData("1M", "refcount_bits=3", "1, 2, 4, 8, 16, 32 or 64")]
    [InlineData("1M", "refcount_bits=128", "1, 2, 4, 8, 16, 32 or 64")]
    [InlineData("1M", "refcount_bits=0", "1, 2, 4, 8, 16, 32 or 64")]
    [InlineData("1M", "cluster_size=256", "power of two from 512 to 2M")]
    [InlineData("1M", "cluster_size=5000", "power of two from 512 to 2M")]
    [InlineData("1M", "cluster_size=4M", "power of two from 512 to 2M")]
    [InlineData("1M", "extended_l2=on,cluster_size=8k", "clusters of 16K at least")]
    [InlineData("1M", "data_file_raw=on", "there is no data file")]
    [InlineData("1M", "data_file=DIR/data.raw,data_file_raw=on,backing_file=base.raw,backing_fmt=raw", "data_file_raw=on is not possible")]
    [InlineData("1M", "backing_file=base.raw", "its format is not stated")]
    [InlineData("1M", "backing_fmt=raw", "there is no backing file")]
    [InlineData("1M", "backing_file=,backing_fmt=raw", "the name is empty")]
    [InlineData("1M", "backing_file=base.raw,backing_fmt=raw,preallocation=metadata", "extended_l2=on allows both")]
    [InlineData("1M", "backing_file=nowhere,backing_fmt=raw", "no such file")]
    [InlineData("1M", "backing_file=base.raw,backing_fmt=qcow2", "nothing but zeroes")]
    [InlineData("1M", "preallocation=meta", "it must be one of off, metadata, falloc, full")]
    [InlineData("1M", "lazy_refcounts=1", "it must be on or off")]
    [InlineData("1M", "size=2M", "give it once")]
    [InlineData(null, "cluster_size=4k", "SIZE is missing")]
    [InlineData("9E", "", "is not a size")]
    [InlineData("9223372036854775807", "", "is out of range")]
    [InlineData("7E", "", "is too large")]
    [InlineData("7E", "cluster_size=2M", "is too large")]
    [InlineData("200G", "cluster_size=512", "clusters of 512 bytes reach 137438953472")]
    [InlineData("-5", "", "is not a size")]
    [InlineData("1e3", "", "is not a size")]
    public void Refused_as_by_qemu_img_and_nothing_is_left(string? size, string options, string says)
    {
        options = options.Replace("DIR/", _directory.File(""), StringComparison.Ordinal);
        var path = _directory.File("disk.qcow2");
        string[] sizes = size is null ? [] : [size];
        Assert.NotEqual(0, QemuImg.Try(["create", "-q", "-f", "qcow2", "-o", options.Length == 0 ? "compat=1.1" : options, path, .. sizes])
            .ExitCode);
        File.Delete(path);
        File.Delete(_directory.File("data.raw"));

        var error = Assert.ThrowsAny<Exception>(() => Create(path, size, options));

        var line = Refusals.From(error, "cannot create").Message;
        Assert.Contains(says, line, StringComparison.Ordinal);
        Assert.Equal(["base.raw"], Directory.EnumerateFileSystemEntries(_directory.Path).Select(Path.GetFileName));
    }

    /// <summary>qemu-img still makes them, and says that it should not be done.</summary>
    [Theory]
    [InlineData("encryption=on")]
    public void Legacy_encryption_is_not_made_any_more(string options)
    {
        var error = Assert.Throws<OutcomeException>(() => Create(_directory.File("disk.qcow2"), "1M", options));

        Assert.Contains("encrypt.format=luks", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Comma_in_a_name_is_written_twice()
    {
        File.Move(_directory.File("base.raw"), _directory.File("a,b"));

        Create(_directory.File("disk.qcow2"), null, "backing_file=a,,b,backing_fmt=raw");

        Assert.Equal("a,b", new ImageBytes(_directory.File("disk.qcow2")).Header.BackingFile);
    }

    [Fact]
    public void Backing_file_is_looked_for_beside_the_image()
    {
        Directory.CreateDirectory(_directory.File("sub"));

        Create(_directory.File("sub/disk.qcow2"), null, "backing_file=../base.raw,backing_fmt=raw");
        var error = Assert.Throws<IOException>(
            () => Create(_directory.File("sub/two.qcow2"), null, "backing_file=base.raw,backing_fmt=raw"));

        Assert.Contains("sub/base.raw", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(255, true)]
    [InlineData(256, false)]
    public void Chain_may_be_as_deep_as_attach_allows(int below, bool allowed)
    {
        var last = "base.raw";
        for (var i = 1; i < below; i++)
        {
            Create(_directory.File($"{i}.qcow2"), "1M", $"cluster_size=512,backing_file={last},backing_fmt={(i == 1 ? "raw" : "qcow2")}");
            last = $"{i}.qcow2";
        }

        void Top() => Create(_directory.File("top.qcow2"), null, $"backing_file={last},backing_fmt=qcow2");
        if (allowed)
            Top();
        else
            Assert.Contains("256", Assert.Throws<ImageFormatException>(Top).Message, StringComparison.Ordinal);
    }

    internal static void Create(string path, string? size, string options, bool force = false)
    {
        var wanted = new CreateOptions { Image = path, Force = force };
        if (size is not null)
            wanted = CreateOptionTable.Set(wanted, "size", size);
        ImageCreation.Create(options.Length > 0 ? CreateOptionTable.SetAll(wanted, options) : wanted);
    }
}
