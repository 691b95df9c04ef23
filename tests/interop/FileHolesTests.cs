using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Holes of the files below the clusters are told as qemu-nbd tells them, to the letter, and never where data is.</summary>
public sealed class FileHolesTests
{
    private const string Requests = "nbd_requests.py";

    [Theory]
    [InlineData("off", "64k")]
    [InlineData("metadata", "64k")]
    [InlineData("metadata", "4k")]
    [InlineData("metadata", "2M")]
    [InlineData("falloc", "64k")]
    [InlineData("full", "64k")]
    [InlineData("compressed", "64k")]
    [InlineData("raw", "64k")]
    public void One_image(string kind, string clusterSize)
    {
        using var folder = new Folder();
        AssertToldAsByQemu(folder, Make(folder, "disk", kind, clusterSize), kind == "raw" ? "raw" : "qcow2");
    }

    [Theory]
    [InlineData("metadata", "raw")]
    [InlineData("metadata", "falloc")]
    [InlineData("full", "metadata")]
    [InlineData("compressed", "metadata")]
    [InlineData("raw")]
    [InlineData("off", "compressed")]
    public void Chain_of_images(params string[] kinds)
    {
        using var folder = new Folder();
        string below = Make(folder, "base0", kinds[^1], "64k"), format = kinds[^1] == "raw" ? "raw" : "qcow2";
        for (var depth = 1; depth < kinds.Length; depth++)
        {
            var lower = Make(folder, $"base{depth}", kinds[^(depth + 1)], "4k");
            Run.QemuImg("rebase", "-u", "-f", "qcow2", "-F", format, "-b", below, lower);
            (below, format) = (lower, "qcow2");
        }

        var top = folder.Overlay("disk.qcow2", below, format, "9M");
        Run.QemuIo(top, "write -P 9 300k 100k", "write -P 10 6M 4k");

        AssertToldAsByQemu(folder, top, "qcow2");
    }

    [Fact]
    public void Sparse_read_of_a_preallocated_image_moves_no_zeroes()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "8M", "preallocation=metadata");
        Run.QemuIo(image, "write -P 1 1M 1M", "write -P 2 3M 4k");
        var server = Server.Attach(folder, image);

        Client.Python3(Requests, "holes_of_the_file_travel_as_holes", server.Uri);

        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void Disk_of_many_holes_is_told_in_replies_of_bounded_work()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "16M", "preallocation=metadata,cluster_size=4k");
        var map = JsonDocument.Parse(Run.QemuImg("map", "--output=json", "-f", "qcow2", image).Output).RootElement;

        // Straight into the file: thousands of requests to qemu-io would take their time.
        using (var file = File.OpenWrite(image))
        {
            foreach (var extent in map.EnumerateArray())
            {
                for (long at = 0; at < extent.GetProperty("length").GetInt64(); at += 8192)
                {
                    file.Position = extent.GetProperty("offset").GetInt64() + at;
                    file.Write(new byte[4096]);
                }
            }
        }

        var server = Server.Attach(folder, image, "--read-only");

        Client.Python3(Requests, "many_holes_are_told_in_several_replies", server.Uri);

        server.Detach();
    }

    [Theory]
    [InlineData("metadata", "none")]
    [InlineData("metadata", "writeback")]
    [InlineData("raw", "none")]
    [InlineData("raw", "writeback")]
    public void Acknowledged_write_is_data_at_once(string kind, string cache)
    {
        using var folder = new Folder();
        var image = Make(folder, "disk", kind, "64k");
        var server = Server.Attach(folder, image, "--cache", cache, "--queues", "2", "--format", kind == "raw" ? "raw" : "qcow2");

        Client.Python3(Requests, "write_is_data_at_once", server.Uri);

        server.Detach();
    }

    [Fact]
    public void Nbdcopy_of_a_preallocated_disk_is_the_same_disk_and_as_sparse()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "256M", "preallocation=metadata");
        Run.QemuIo(image, "write -P 1 100M 1M", "write -P 2 200M 4k");
        var server = Server.Attach(folder, image, "--read-only");

        var copy = folder.File("copy.raw");
        Run.Program("nbdcopy", server.Uri, copy).Passed();

        Verdict.SameDisk(copy, image);
        Assert.InRange(long.Parse(Run.Program("stat", "-c", "%b", copy).Passed().Output), 1, 4096);
        server.Detach();
    }

    private static void AssertToldAsByQemu(Folder folder, string image, string format)
    {
        (long, long, long)[] allocation, depth;
        using (QemuNbd.Serve(folder, image, out var uri, "-f", format, "--read-only", "--allocation-depth"))
        {
            allocation = Map.Context(uri, "base:allocation");
            depth = Map.Context(uri, "qemu:allocation-depth");
        }

        var server = Server.Attach(folder, image, "--read-only", "--format", format);

        Assert.Equal(allocation, Map.Context(server.Uri, "base:allocation"));
        Assert.Equal(depth, Map.Context(server.Uri, "qemu:allocation-depth"));
        var copy = folder.File("copy.raw");
        Run.Program("nbdcopy", server.Uri, copy).Passed();
        Run.QemuImg("compare", "-f", "raw", "-F", format, copy, image);
        server.Detach();
    }

    /// <summary>8 MiB with data that begins and ends within clusters, and the rest as the kind has it.</summary>
    private static string Make(Folder folder, string name, string kind, string clusterSize)
    {
        var path = folder.File(name + (kind == "raw" ? ".raw" : ".qcow2"));
        if (kind == "compressed")
        {
            Run.QemuImg("convert", "-c", "-f", "qcow2", "-O", "qcow2", "-o", $"cluster_size={clusterSize}",
                Make(folder, name + "-plain", "off", "64k"), path);
            return path;
        }

        if (kind == "raw")
        {
            using var made = File.Create(path);
            made.SetLength(8 << 20);
        }
        else
        {
            folder.Image(Path.GetFileName(path), "8M", $"cluster_size={clusterSize},preallocation={kind}");
        }

        Run.QemuIoAs(kind == "raw" ? "raw" : "qcow2", path, "write -P 1 1M 300k", "write -P 2 5000k 4k", "write -P 3 7M 1M");
        if (kind == "raw")
            Run.Program("fallocate", "--punch-hole", "--offset", "7500KiB", "--length", "64KiB", path).Passed();
        return path;
    }
}
