using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary><c>qcow2blk create</c> as users run it.</summary>
public sealed class CreateTests
{
    [Fact]
    public void Image_is_made_in_silence_and_json_says_what_it_is()
    {
        using var folder = new Folder();
        string one = folder.File("one.qcow2"), two = folder.File("two.qcow2");

        var silent = folder.Qcow2Blk("create", one, "10M").Passed();
        var told = folder.Qcow2Blk("create", "-o", "compat=0.10", "-o", "cluster_size=4k", two,
            "--backing", "one.qcow2", "--backing-format", "qcow2", "--json").Passed();

        Assert.Equal("", silent.Output + silent.Errors);
        var json = JsonDocument.Parse(told.Output).RootElement;
        Assert.Equal(10 << 20, json.GetProperty("virtual-size").GetInt64());
        Assert.Equal(new FileInfo(two).Length, json.GetProperty("file-size").GetInt64());
        Assert.Equal("0.10", json.GetProperty("compat").GetString());
        Assert.Equal(4096, json.GetProperty("cluster-size").GetInt32());
        Assert.Equal("one.qcow2", json.GetProperty("backing-filename").GetString());
        Verdict.Clean(two);
    }

    [Fact]
    public void Refusals_are_one_line_and_say_what_is_wrong()
    {
        using var folder = new Folder();
        var path = folder.Image("disk.qcow2", "1M");

        folder.Qcow2Blk("create", path, "1M").Refused(1, "it already exists", "--force");
        folder.Qcow2Blk("create", folder.File("new"), "1M", "-o", "cluster_size=3k").Refused(2, "cluster_size=3k", "power of two");
        folder.Qcow2Blk("create", folder.File("new")).Refused(2, "SIZE is missing");
        folder.Qcow2Blk("create", folder.File("new"), "--backing", "disk.qcow2", "--backing-format", "qcow2", "-o", "backing_file=x")
            .Refused(2, "cannot be used together");
        folder.Qcow2Blk("create", folder.File("new"), "--backing", "disk.qcow2", "--backing-format", "raw", "-o", "backing_fmt=raw")
            .Refused(2, "cannot be used together");
        Assert.False(File.Exists(folder.File("new")));
    }

    [Theory]
    [InlineData("""json:{"driver":"qcow2","file":{"driver":"file","filename":"PATH"}}""")]
    [InlineData("""json:{"driver":"qcow2","file.filename":"PATH"}""")]
    public void Backing_name_in_json_is_read_as_qemu_reads_it(string name)
    {
        using var folder = new Folder();
        var below = folder.Image("base.qcow2", "1M");
        Run.QemuIo(below, "write -P 9 64k 300k");
        var image = folder.Overlay("disk.qcow2", name.Replace("PATH", below, System.StringComparison.Ordinal));
        Run.QemuIo(image, "write -P 10 128k 1k");

        var server = Server.Attach(folder, image);
        var read = server.Copy("read.raw");
        server.Detach();

        Assert.Equal(Folder.Hash(folder.Raw(image, "qemu.raw")), Folder.Hash(read));
        folder.Sub("elsewhere");
        folder.Qcow2Blk("attach", image, "--socket", folder.File("s"), "--backing-dir", folder.File("elsewhere"))
            .Refused(1, "not in a directory given with --backing-dir");
    }

    /// <summary>It lasts long enough to be killed: a gigabyte of zeroes in memory.</summary>
    [Fact]
    public void Killed_command_leaves_nothing()
    {
        using var folder = new Folder();
        using (folder.StartQcow2Blk("create", "-o", "preallocation=full", folder.File("disk.qcow2"), "1G"))
            System.Threading.Thread.Sleep(150);

        Assert.Empty(Directory.EnumerateFiles(folder.File(".")).Select(Path.GetFileName));
    }

    [Fact]
    public void Attached_image_is_not_replaced()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        var server = Server.Attach(folder, image);

        folder.Qcow2Blk("create", image, "2M", "--force").Refused(4, "in use");

        server.Detach();
        Verdict.Clean(image);
    }
}
