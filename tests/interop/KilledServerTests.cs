using System;
using System.Buffers.Binary;
using System.Globalization;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>kill -9 under load: leaks at most, and everything that a flush covered is there.</summary>
public sealed class KilledServerTests
{
    [Theory]
    [InlineData("", 4096, 5)]
    [InlineData("", 65536, 40)]
    [InlineData("cluster_size=4k", 4096, 60)]
    [InlineData("cluster_size=512,refcount_bits=1", 4096, 25)]
    [InlineData("cluster_size=2M", 4096, 30)]
    [InlineData("lazy_refcounts=on", 4096, 30)]
    [InlineData("compat=0.10", 8192, 20)]
    public void Image_is_sound_and_holds_what_was_flushed(string options, int block, int flushes)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "256M", options);
        var server = Server.Attach(folder, image);
        using var load = Client.Start("kill_load.py", server.Uri, $"{block}");

        var line = "";
        for (var i = 0; i < flushes; i++)
            line = load.WaitForLine("flushed");
        server.Kill();
        load.WaitForLine("died");
        load.Wait().Passed();

        if (options.StartsWith("lazy", StringComparison.Ordinal))
            Run.QemuImg("check", "-r", "all", image);
        Verdict.Sound(image);
        AssertHolds(folder.Raw(image, "after.raw"), block, int.Parse(line.Split(' ')[1], CultureInfo.InvariantCulture));
    }

    [Fact]
    public void Snapshot_survives_a_server_killed_while_it_writes_over_it()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "64M");
        Run.QemuIo(image, "write -P 5 0 64M");
        Run.QemuImg("snapshot", "-c", "before", image);
        var before = folder.Raw(image, "before.raw");
        var server = Server.Attach(folder, image);
        using var load = Client.Start("kill_load.py", server.Uri, "4096");

        for (var i = 0; i < 10; i++)
            load.WaitForLine("flushed");
        server.Kill();
        load.WaitForLine("died");

        Verdict.Sound(image);
        Assert.Equal(Folder.Hash(before), Folder.Hash(folder.Raw(image, "after.raw", "-l", "snapshot.name=before")));
    }

    private static void AssertHolds(string raw, int block, int flushed)
    {
        using var file = File.OpenRead(raw);
        var count = file.Length / block;
        var bytes = new byte[block];
        for (var number = 0; number < flushed; number++)
        {
            file.Position = number * 7919L % count * block;
            file.ReadExactly(bytes);
            for (var at = 0; at < block; at += 4)
                Assert.Equal(number, BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(at)));
        }
    }
}
