using System;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Limits of a device as its clients feel them.</summary>
public sealed class LimitTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("--iops 300", "randread", 16, 300, null)]
    [InlineData("--iops 300", "randwrite", 16, 300, null)]
    [InlineData("--read-iops 200", "randread", 1, 200, null)]
    [InlineData("--write-iops 5000", "randwrite", 64, 5000, null)]
    [InlineData("--bandwidth 8M", "randrw", 8, null, 8 << 20)]
    [InlineData("--write-bandwidth 4M --iops 100000", "randwrite", 8, null, 4 << 20)]
    public void Rate_is_kept_within_five_percent(string options, string pattern, int depth, int? requests, int? bytes)
    {
        // What can be saved up is used first: the rest of the time shows the rate.
        const int seconds = 6;
        var server = Server.Attach(_folder, Disk(), [.. options.Split(' '), "--burst", "0.1", "--queues", "2"]);
        var load = Load(server, pattern, depth, seconds);

        if (requests is { } rate)
            Assert.InRange(load.Requests / load.Seconds, rate * 0.95, rate * 1.05);
        if (bytes is { } bandwidth)
            Assert.InRange(load.Bytes / load.Seconds, bandwidth * 0.95, bandwidth * 1.05);
        server.Detach();
    }

    [Fact]
    public void Limit_can_be_set_changed_and_taken_away_under_load_and_shows_in_the_status()
    {
        var server = Server.Attach(_folder, Disk());
        using var fio = Fio.Start(_folder, server, "8M");
        fio.WaitForProgress();
        Assert.False(server.Status().TryGetProperty("limits", out _));

        _folder.Qcow2Blk("set", server.Name, "--iops", "20", "--burst", "0.1").Passed();
        Deadline.Until(() => server.Status().GetProperty("requests").GetProperty("waiting-for-limit").GetInt32() > 0,
            "requests wait for their turn");
        Assert.Equal(20, server.Status().GetProperty("limits").GetProperty("iops").GetInt64());

        _folder.Qcow2Blk("set", server.Name, "--iops", "0").Passed();
        fio.WaitForProgress();
        Assert.False(server.Status().TryGetProperty("limits", out _));
        fio.EndWithoutErrors();
        server.Detach();
    }

    [Fact]
    public void Suspend_resume_and_detach_do_not_wait_for_a_limit()
    {
        var image = Disk();
        var server = Server.Attach(_folder, image, "--iops", "1");
        var client = Run.Start(null, "fio", "--name=load", "--ioengine=nbd", $"--uri={server.Uri}", "--rw=randwrite", "--bs=4k",
            "--size=16M", "--iodepth=64", "--time_based", "--runtime=60", "--randseed=3");
        Deadline.Until(() => server.Status().GetProperty("requests").GetProperty("waiting-for-limit").GetInt32() > 32,
            "requests wait for their turn");

        server.Suspend("--timeout", "5").Passed();
        Verdict.Clean(image);
        server.Resume().Passed();
        _folder.Qcow2Blk("detach", server.Name, "--timeout", "5").Passed();
        client.Wait();
        Verdict.Clean(image);
    }

    [Theory]
    [InlineData("--iops", "many")]
    [InlineData("--bandwidth", "12Q")]
    [InlineData("--burst", "0")]
    public void Nonsense_is_refused_before_anything_is_changed(string option, string value)
    {
        var server = Server.Attach(_folder, Disk(), "--iops", "7");
        var refused = _folder.Qcow2Blk("set", server.Name, "--read-iops", "5", option, value);
        Assert.Equal(2, refused.Status);
        Assert.Contains(value, refused.Errors, StringComparison.Ordinal);
        Assert.Equal(2, _folder.Qcow2Blk("set", server.Name).Status);
        var limits = server.Status().GetProperty("limits");
        Assert.Equal(["iops", "burst-ns"], limits.EnumerateObject().Select(member => member.Name));
        server.Detach();
    }

    private string Disk()
    {
        var image = _folder.Image("disk.qcow2", "32M");
        Run.QemuIo(image, "write -P 7 0 32M");
        return image;
    }

    private (double Requests, double Bytes, double Seconds) Load(Server server, string pattern, int depth, int seconds)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/fio"), "no fio");
        var report = _folder.File("fio.json");
        Run.Program("fio", "--name=load", "--ioengine=nbd", $"--uri={server.Uri}", $"--rw={pattern}", "--bs=4k", "--size=32M",
            $"--iodepth={depth.ToString(CultureInfo.InvariantCulture)}", "--time_based",
            $"--runtime={seconds.ToString(CultureInfo.InvariantCulture)}", "--ramp_time=1", "--randseed=11", "--output-format=json",
            $"--output={report}", $"--aux-path={_folder.RuntimeDirectory}").Passed();
        var text = File.ReadAllText(report);
        var job = JsonDocument.Parse(text[text.IndexOf('{', StringComparison.Ordinal)..]).RootElement.GetProperty("jobs")
            .EnumerateArray().Single();
        var (requests, bytes, milliseconds) = (0.0, 0.0, 0.0);
        foreach (var direction in new[] { "read", "write" })
        {
            requests += job.GetProperty(direction).GetProperty("total_ios").GetDouble();
            bytes += job.GetProperty(direction).GetProperty("io_bytes").GetDouble();
            milliseconds = Math.Max(milliseconds, job.GetProperty(direction).GetProperty("runtime").GetDouble());
        }

        return (requests, bytes, milliseconds / 1000);
    }
}
