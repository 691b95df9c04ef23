using System.IO;
using System.Security.Cryptography;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Much at once: connections, loops, tables that grow, caches that are too small.</summary>
public sealed class LoadTests
{
    [Theory]
    [InlineData("", "16k")]
    [InlineData("cluster_size=4k", "4k")]
    [InlineData("cluster_size=2M", "4k")]
    public void Two_loops_write_into_one_empty_image_at_once(string options, string blockSize)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "128M", options);
        var server = Server.Attach(folder, image, "--queues", "2");

        FourConnections(folder, server, blockSize);

        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void Two_loops_write_over_one_compressed_base_at_once()
    {
        using var folder = new Folder();
        var source = folder.Image("source.qcow2", "128M");
        Run.QemuIo(source, "write -P 7 0 128M");
        Run.QemuImg("convert", "-c", "-f", "qcow2", "-O", "qcow2", source, folder.File("base.qcow2"));
        var image = folder.Overlay("disk.qcow2", "base.qcow2");
        var server = Server.Attach(folder, image, "--queues", "2");

        FourConnections(folder, server, "4k");
        Run.QemuIoAs("raw", server.Uri, "read -P 7 120M 8M");

        server.Detach();
        Verdict.Clean(image);
    }

    [Theory]
    [InlineData("cluster_size=512,refcount_bits=64", 24)]
    [InlineData("cluster_size=512,refcount_bits=1", 24)]
    [InlineData("cluster_size=4k,refcount_bits=64", 48)]
    public void Tables_grow_while_the_whole_disk_is_written(string options, int mebibytes)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", $"{mebibytes}M", options);
        var source = folder.File("source.raw");
        File.WriteAllBytes(source, RandomNumberGenerator.GetBytes(mebibytes << 20));
        var server = Server.Attach(folder, image);

        Run.Program("nbdcopy", "--flush", source, server.Uri).Passed();

        server.Detach();
        Verdict.Clean(image);
        Verdict.SameDisk(source, image);
    }

    [Fact]
    public void Cache_far_smaller_than_the_tables_only_costs_time()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1G", "cluster_size=512");
        var model = folder.Raw(image, "model.raw");
        var server = Server.Attach(folder, image, "--cache-size", "1M");

        Client.Python3("model_writes.py", server.Uri, model, "11", "40");

        Assert.True(server.ResidentKiB < 64 << 10, $"{server.ResidentKiB} KiB");
        server.Detach();
        Verdict.Clean(image);
        Verdict.SameDisk(model, image);
    }

    [Fact]
    public void Forty_attaches_and_detaches_leave_nothing_behind()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        var before = Directory.GetFileSystemEntries(folder.RuntimeDirectory);

        for (var i = 0; i < 40; i++)
            Server.Attach(folder, image).Detach();

        Assert.Equal(before, Directory.GetFileSystemEntries(folder.RuntimeDirectory));
        Verdict.Clean(image);
    }

    private static void FourConnections(Folder folder, Server server, string blockSize)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/fio"), "no fio");
        Run.Program("fio", "--name=verify", "--ioengine=nbd", $"--uri={server.Uri}", "--rw=randwrite", $"--bs={blockSize}", "--size=16M",
            "--offset_increment=28M", "--numjobs=4", "--iodepth=16", "--verify=crc32c", "--verify_fatal=1", "--fsync=64", "--randseed=3",
            "--group_reporting", $"--aux-path={folder.File("")}").Passed();
    }
}
