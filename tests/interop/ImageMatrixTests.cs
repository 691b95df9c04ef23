using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>
/// Images of qemu-img, read and written through NBD: every pair of version, cluster size, refcount width and content
/// that qemu-img can make is there where both can matter to each other.
/// </summary>
public sealed class ImageMatrixTests
{
    private const long Odd = 5 * 1048576 + 1536;

    [Theory]
    [InlineData("1.1", "64k", 16, Content.Empty, Odd)]
    [InlineData("1.1", "512", 1, Content.Plain, Odd)]
    [InlineData("0.10", "4k", 16, Content.Plain, Odd)]
    [InlineData("1.1", "2M", 64, Content.Plain, 9437184 + 512)]
    [InlineData("0.10", "64k", 16, Content.Zlib, Odd)]
    [InlineData("1.1", "512", 64, Content.Zlib, Odd)]
    [InlineData("1.1", "2M", 16, Content.Zlib, 9437184)]
    [InlineData("1.1", "4k", 1, Content.Empty, Odd)]
    [InlineData("1.1", "64k", 64, Content.Zstd, Odd)]
    [InlineData("1.1", "4k", 16, Content.Zstd, Odd)]
    [InlineData("1.1", "2M", 16, Content.Zstd, Odd)]
    [InlineData("1.1", "64k", 64, Content.Snapshots, Odd)]
    [InlineData("0.10", "512", 16, Content.Snapshots, Odd)]
    [InlineData("1.1", "2M", 16, Content.Snapshots, 9437184)]
    [InlineData("1.1", "4k", 1, Content.OverQcow2, Odd)]
    [InlineData("0.10", "64k", 16, Content.OverQcow2, Odd)]
    [InlineData("1.1", "64k", 1, Content.OverRaw, Odd)]
    [InlineData("0.10", "2M", 16, Content.OverRaw, 9437184)]
    [InlineData("1.1", "512", 16, Content.OverOtherClusterSize, Odd)]
    [InlineData("1.1", "2M", 64, Content.OverOtherClusterSize, Odd)]
    [InlineData("1.1", "64k", 16, Content.OverShorter, Odd)]
    [InlineData("0.10", "4k", 16, Content.OverShorter, Odd)]
    [InlineData("1.1", "4k", 64, Content.OverLonger, Odd)]
    [InlineData("1.1", "64k", 1, Content.OverCompressed, Odd)]
    [InlineData("1.1", "2M", 1, Content.ChainOfThree, Odd)]
    [InlineData("0.10", "512", 16, Content.ChainOfThree, Odd)]
    [InlineData("1.1", "64k", 16, Content.RelativeElsewhere, Odd)]
    [InlineData("1.1", "64k", 16, Content.LazyRefcounts, Odd)]
    [InlineData("1.1", "512", 64, Content.LazyRefcounts, Odd)]
    [InlineData("1.1", "4k", 1, Content.LazyRefcounts, Odd)]
    [InlineData("1.1", "64k", 1, Content.Preallocated, Odd)]
    [InlineData("0.10", "512", 16, Content.Preallocated, Odd)]
    public void Image_of_qemu_reads_as_qemu_reads_it_and_what_is_written_qemu_finds_sound(
        string version, string clusterSize, int refcountBits, Content content, long size)
    {
        using var folder = new Folder();
        var image = new ImageShape(folder, version, clusterSize, refcountBits, size).Make(content);
        var model = folder.Raw(image.Path, "model.raw");
        string[] below = [.. image.Below.Select(Folder.Hash)];
        var snapshots = Snapshots(folder, image, "before");

        var server = Server.Attach(folder, image.Path, "--discard", "unmap");
        var read = server.Copy("read.raw");
        Assert.Equal(Folder.Hash(model), Folder.Hash(read));
        Client.Python3("model_writes.py", server.Uri, model, $"{size + refcountBits + (int)content}", "12");
        server.Detach();

        Verdict.Clean(image.Path);
        Verdict.SameDisk(model, image.Path);
        Assert.Equal(below, image.Below.Select(Folder.Hash));
        Assert.Equal(snapshots, Snapshots(folder, image, "after"));
    }

    private static string[] Snapshots(Folder folder, ShapedImage image, string when) =>
        [.. image.Snapshots.Select(name => Folder.Hash(folder.Raw(image.Path, $"{name}-{when}.raw", "-l", $"snapshot.name={name}")))];
}
