using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>
/// Images on a real disk, so that their transfers go through the ring (with O_DIRECT if the file system takes it): the
/// kernel's, and the threads that stand in for it.
/// </summary>
public sealed class RingTests
{
    public static TheoryData<string, string> RingsAndCaches()
    {
        var data = new TheoryData<string, string>();
        foreach (var ring in (string[])["on", "off"])
        {
            foreach (var cache in (string[])["none", "writeback"])
                data.Add(ring, cache);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(RingsAndCaches))]
    public void Two_verifying_jobs_find_what_they_wrote(string ring, string cache)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/fio"), "no fio");
        using var disk = new DiskFolder();
        using var folder = new Folder();
        var image = disk.Image("disk.qcow2", "64M");
        var server = RingServer.Attach(folder, ring, image, "--cache", cache, "--queues", "2");

        var report = folder.File("fio.json");
        Run.Program("fio", "--ioengine=nbd", $"--uri={server.Uri}", "--rw=randrw", "--bsrange=512-64k", "--bs_unaligned=1", "--size=12M",
            "--offset_increment=16M", "--numjobs=2", "--iodepth=16", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--fsync=64",
            "--randseed=5",
            "--name=verify", "--output-format=json", $"--output={report}", $"--aux-path={folder.RuntimeDirectory}").Passed();

        var text = File.ReadAllText(report);
        JsonElement[] jobs =
            [.. JsonDocument.Parse(text[text.IndexOf('{', StringComparison.Ordinal)..]).RootElement.GetProperty("jobs").EnumerateArray()];
        Assert.Equal(2, jobs.Length);
        Assert.All(jobs, job => Assert.Equal(0, job.GetProperty("error").GetInt32()));
        Assert.All(jobs, job => Assert.True(job.GetProperty("read").GetProperty("total_ios").GetInt64() > 100, text));
        server.Detach();
        Verdict.Clean(image);
    }

    [Theory]
    [MemberData(nameof(RingsAndCaches))]
    public void Odd_requests_of_two_clients_by_the_hundred_over_a_suspend(string ring, string cache)
    {
        using var disk = new DiskFolder();
        using var folder = new Folder();
        var image = disk.Image("disk.qcow2", "32M", "cluster_size=4096");
        var server = RingServer.Attach(folder, ring, image, "--cache", cache, "--queues", "2");
        Running[] clients =
            [.. Enumerable.Range(0, 2).Select(half => folder.Own(Client.Start("pipelined.py", "odd_requests", server.Uri, $"{half}")))];

        foreach (var client in clients)
            client.WaitForLine("half");
        server.Suspend().Passed();
        Verdict.Clean(image);
        foreach (var client in clients)
            client.Tell("go on");
        server.Resume().Passed();

        foreach (var client in clients)
            client.Wait().Passed();
        server.Detach();
        Verdict.Clean(image);
    }

    [Theory]
    [InlineData("on")]
    [InlineData("off")]
    public void Three_hundred_requests_of_all_sizes_at_once(string ring)
    {
        using var disk = new DiskFolder();
        using var folder = new Folder();
        var image = disk.Image("disk.qcow2", "256M");
        var server = RingServer.Attach(folder, ring, image);

        Client.Python3("nbd_requests.py", "three_hundred_requests_of_all_sizes_at_once", server.Uri);

        server.Detach();
        Verdict.Clean(image);
    }

    [Theory]
    [InlineData("on")]
    [InlineData("off")]
    public void Zeroes_discards_and_a_compressed_base(string ring)
    {
        using var disk = new DiskFolder();
        using var folder = new Folder();
        string plain = folder.Image("plain.qcow2", "8M"), image = disk.Image("disk.qcow2", "8M");
        Run.QemuIo(plain, "write -P 7 0 8M");
        Run.QemuImg("convert", "-c", "-f", "qcow2", "-O", "qcow2", plain, image);
        var server = RingServer.Attach(folder, ring, image, "--discard", "unmap");

        Run.QemuIoAs("raw", server.Uri, "read -P 7 0 8M", "write -P 8 100k 300k", "write -z 1M 1M", "discard 3M 1M",
            "write -P 9 4000513 4k", "flush",
            "read -P 8 100k 300k", "read -P 0 1M 1M", "read -P 0 3M 512k", "read -P 9 4000513 4k", "read -P 7 5M 3M");
        server.Suspend().Passed();
        Verdict.Clean(image);
        server.Resume().Passed();
        Run.QemuIoAs("raw", server.Uri, "read -P 8 100k 300k", "read -P 0 1M 1M");
        server.Detach();
        Verdict.Clean(image);
        Run.QemuIo(image, "read -P 8 100k 300k", "read -P 0 1M 1M", "read -P 9 4000513 4k", "read -P 7 5M 3M");
    }
}
