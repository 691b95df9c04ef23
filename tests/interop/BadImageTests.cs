using System;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>An image that cannot be served is refused by name and field, in one line, and not a byte of it changes.</summary>
public sealed class BadImageTests
{
    /// <summary>One damaged field of a v3 image with 64 KiB clusters; the parser's unit tests know many more.</summary>
    [Theory]
    [InlineData(0, "514649fc", "magic")]
    [InlineData(4, "00000001", "version")]
    [InlineData(4, "00000004", "version")]
    [InlineData(20, "00000008", "cluster_bits")]
    [InlineData(20, "00000016", "cluster_bits")]
    [InlineData(24, "ffffffffffffffff", "size")]
    [InlineData(32, "00000003", "crypt_method")]
    [InlineData(36, "00000000", "l1_size")]
    [InlineData(36, "7fffffff", "l1_size")]
    [InlineData(40, "0000000000030200", "l1_table_offset")]
    [InlineData(40, "0000000070000000", "L1")]
    [InlineData(40, "0000000000010000", "overlap")]
    [InlineData(48, "0000000000010001", "refcount_table_offset")]
    [InlineData(48, "0000000070000000", "refcount table")]
    [InlineData(56, "00000000", "refcount_table_clusters")]
    [InlineData(56, "7fffffff", "refcount_table_clusters")]
    [InlineData(60, "00010001", "nb_snapshots")]
    [InlineData(60, "00000001", "snapshots_offset")]
    [InlineData(72, "0000000000000020", "incompatible_features")]
    [InlineData(72, "0000000000000002", "corrupt")]
    [InlineData(72, "0000000000000004", "data file")]
    [InlineData(72, "0000000000000008", "compression_type")]
    [InlineData(96, "00000007", "refcount_order")]
    [InlineData(100, "00000060", "header_length")]
    [InlineData(8, "0000000000010001", "backing_file")]
    public void Damaged_header(int offset, string bytes, string field)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        Run.QemuIo(image, "write -P 1 0 64k");
        if (offset == 8)
            Bytes.Overwrite(image, 16, [0, 0, 0, 4]);
        Bytes.Overwrite(image, offset, Convert.FromHexString(bytes));

        AssertRefusedUnchanged(folder, image, "disk.qcow2", field);
    }

    [Fact]
    public void Encrypted_image_without_a_key_is_refused()
    {
        using var folder = new Folder();
        var image = folder.File("disk.qcow2");
        string[] create = ["create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o",
            "encrypt.format=luks,encrypt.key-secret=s", image, "1M"];

        // With little processor time qemu-img sometimes cannot time its key derivation.
        Deadline.Until(() => Run.Program("qemu-img", create).Status == 0, "qemu-img makes the image");

        AssertRefusedUnchanged(folder, image, "disk.qcow2", "encrypted");
    }

    [Fact]
    public void Data_file_that_is_not_there_is_refused_by_name()
    {
        using var folder = new Folder();
        var data = folder.File("data.raw");
        var image = folder.Image("disk.qcow2", "1M", $"data_file={data}");
        File.Delete(data);

        AssertRefusedUnchanged(folder, image, "disk.qcow2", "data.raw");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(40)]
    [InlineData(100)]
    [InlineData(65536)]
    [InlineData(131072)]
    [InlineData(196608)]
    public void Truncated(int length)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        Run.QemuIo(image, "write -P 1 0 64k");
        using (var file = File.OpenWrite(image))
            file.SetLength(length);

        AssertRefusedUnchanged(folder, image, "disk.qcow2");
    }

    [Fact]
    public void File_of_another_kind()
    {
        using var folder = new Folder();
        var image = folder.File("letter.txt");
        File.WriteAllText(image, string.Join('\n', System.Linq.Enumerable.Repeat("dear reader,", 1000)));

        AssertRefusedUnchanged(folder, image, "letter.txt", "magic");
    }

    [Theory]
    [InlineData("raw")]
    [InlineData("qcow2")]
    public void File_larger_than_any_disk(string format)
    {
        using var folder = new Folder();
        var image = folder.Image("huge", "1M");
        using (var file = File.OpenWrite(image))
            file.SetLength(long.MaxValue);
        string[] says = ["huge", "its size of 9223372036854775807 bytes is more than 9223372035781033984"];

        folder.Qcow2Blk("attach", image, "--format", format, "--socket", folder.File("s")).Refused(1, says);
        folder.Qcow2Blk("info", image, "--format", format).Refused(1, says);
        folder.Qcow2Blk("map", image, "--format", format).Refused(1, says);

        Assert.Empty(Directory.GetFiles(folder.RuntimeDirectory));
        Assert.Equal(long.MaxValue, new FileInfo(image).Length);
    }

    [Fact]
    public void Corrupt_image_may_be_read_but_not_written()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        Run.QemuIo(image, "write -P 6 0 64k");
        Bytes.Overwrite(image, 72, Bytes.BigEndian(2, 8));

        AssertRefusedUnchanged(folder, image, "corrupt");
        var server = Server.Attach(folder, image, "--read-only");
        Run.QemuIoAs("raw", server.Uri, "read -P 6 0 64k");
        server.Detach();
    }

    [Fact]
    public void Snapshot_table_past_the_end()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        Run.QemuImg("snapshot", "-c", "one", image);
        Bytes.Overwrite(image, 64, Bytes.BigEndian(0x70000000, 8));

        AssertRefusedUnchanged(folder, image, "disk.qcow2", "snapshot");
    }

    [Fact]
    public void Unknown_snapshot()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");

        AssertRefusedUnchanged(folder, image, ["--snapshot", "nope"], "disk.qcow2", "nope");
    }

    private static void AssertRefusedUnchanged(Folder folder, string image, params string[] texts) =>
        AssertRefusedUnchanged(folder, image, [], texts);

    private static void AssertRefusedUnchanged(Folder folder, string image, string[] options, params string[] texts)
    {
        var before = Folder.Hash(image);
        var socket = folder.File("s");

        folder.Qcow2Blk([.. new[] { "attach", image, "--socket", socket }, .. options]).Refused(1, texts);

        Assert.Equal(before, Folder.Hash(image));
        Assert.False(File.Exists(socket));
        Assert.Empty(Directory.GetFiles(folder.RuntimeDirectory));
    }
}
