using System;
using System.Collections.Generic;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Block status is qemu-nbd's, extent by extent, for the same image.</summary>
public sealed class BlockStatusTests
{
    [Theory]
    [InlineData("1.1", "64k", Content.Plain)]
    [InlineData("0.10", "4k", Content.Plain)]
    [InlineData("1.1", "512", Content.Plain)]
    [InlineData("1.1", "64k", Content.Zlib)]
    [InlineData("1.1", "4k", Content.Zstd)]
    [InlineData("1.1", "64k", Content.Snapshots)]
    [InlineData("1.1", "64k", Content.Preallocated)]
    [InlineData("1.1", "64k", Content.OverRaw)]
    [InlineData("1.1", "4k", Content.OverOtherClusterSize)]
    [InlineData("1.1", "64k", Content.OverShorter)]
    [InlineData("1.1", "2M", Content.ChainOfThree)]
    public void Both_contexts_equal_those_of_qemu_nbd(string version, string clusterSize, Content content)
    {
        using var folder = new Folder();
        var shaped = new ImageShape(folder, version, clusterSize, 16, 5 * 1048576 + 1536).Make(content);
        var image = shaped.Path;
        (long, long, long)[] allocation, depth;
        using (QemuNbd.Serve(folder, image, out var uri, "--read-only", "--allocation-depth"))
        {
            allocation = Map.Context(uri, "base:allocation");
            depth = Map.Context(uri, "qemu:allocation-depth");
        }

        var server = Server.Attach(folder, image, "--read-only");

        Assert.Equal(AsQemuSaysIt(allocation), AsQemuSaysIt(Map.Context(server.Uri, "base:allocation")));
        Assert.Equal(depth, Map.Context(server.Uri, "qemu:allocation-depth"));
        server.Detach();
    }

    /// <summary>
    /// A zero cluster that keeps its space is not a hole by the protocol's definition; qemu-nbd calls it one. Images without
    /// such clusters are compared to the letter in <see cref="FileHolesTests"/>.
    /// </summary>
    private static (long, long, long)[] AsQemuSaysIt((long Start, long End, long Type)[] extents)
    {
        const long zero = 2, zeroAndHole = 3;
        var joined = new List<(long Start, long End, long Type)>();
        foreach ((var start, var end, var type) in extents)
        {
            var says = type == zero ? zeroAndHole : type;
            if (joined.Count > 0 && joined[^1].Type == says)
                joined[^1] = joined[^1] with { End = end };
            else
                joined.Add((start, end, says));
        }

        return [.. joined];
    }

    [Fact]
    public void Nbdcopy_of_a_sparse_disk_leaves_holes()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "64M");
        Run.QemuIo(image, "write -P 1 10M 1M");
        var server = Server.Attach(folder, image, "--read-only");

        var copy = folder.File("copy.raw");
        Run.Program("nbdcopy", server.Uri, copy).Passed();

        Verdict.SameDisk(copy, image);
        Assert.InRange(long.Parse(Run.Program("stat", "-c", "%b", copy).Passed().Output), 1, 4096);
        server.Detach();
    }
}
