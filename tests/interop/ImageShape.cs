using System.Collections.Generic;
using System.IO;

namespace Qcow2Blk.Tests.Interop;

/// <summary>What else than plain clusters an image holds.</summary>
public enum Content
{
    Empty,
    Plain,
    Zlib,
    Zstd,
    Snapshots,
    OverQcow2,
    OverRaw,
    OverOtherClusterSize,
    OverShorter,
    OverLonger,
    OverCompressed,
    ChainOfThree,
    RelativeElsewhere,
    LazyRefcounts,
    Preallocated,
}

/// <summary>One image of the matrix, made by qemu-img and qemu-io: the image, and the files below it.</summary>
internal sealed record ShapedImage(string Path, IReadOnlyList<string> Below, IReadOnlyList<string> Snapshots);

/// <summary>Makes the images of the matrix.</summary>
internal sealed class ImageShape(Folder folder, string version, string clusterSize, int refcountBits, long size)
{
    private string Options => $"compat={version},cluster_size={clusterSize}" + (refcountBits == 16 ? "" : $",refcount_bits={refcountBits}");

    private string OtherClusterSize => clusterSize == "4k" ? "64k" : "4k";

    public ShapedImage Make(Content content) => content switch
    {
        Content.Empty => new(Create("disk.qcow2"), [], []),
        Content.Plain => new(Filled("disk.qcow2"), [], []),
        Content.Zlib => new(Compressed("disk.qcow2", "zlib"), [], []),
        Content.Zstd => new(Compressed("disk.qcow2", "zstd"), [], []),
        Content.Snapshots => WithSnapshots(),
        Content.LazyRefcounts => new(Fill(Create("disk.qcow2", ",lazy_refcounts=on"), 1), [], []),
        Content.Preallocated => new(Fill(Create("disk.qcow2", ",preallocation=metadata"), 1), [], []),
        Content.OverQcow2 => Over(Filled("base.qcow2"), "qcow2"),
        Content.OverRaw => Over(RawBase("base.raw", size), "raw"),
        Content.OverOtherClusterSize => Over(Fill(folder.Image("base.qcow2", $"{size}", $"cluster_size={OtherClusterSize}"), 3), "qcow2"),
        Content.OverShorter => Over(RawBase("base.raw", size / 2 / 512 * 512 + 512), "raw"),
        Content.OverLonger => Over(RawBase("base.raw", size + 3 * 65536), "raw"),
        Content.OverCompressed => Over(Compressed("base.qcow2", "zlib"), "qcow2"),
        Content.ChainOfThree => Chain(),
        _ => Elsewhere(),
    };

    private string Create(string name, string more = "") => folder.Image(name, $"{size}", Options + more);

    private string Filled(string name) => Fill(Create(name), 2);

    /// <summary>Data, zero clusters and discarded places spread over the disk, the last bytes among them.</summary>
    private string Fill(string path, int pattern)
    {
        var eighth = size / 8 / 512 * 512;
        Run.QemuIo(path,
            $"write -P {pattern} {eighth} {eighth}",
            $"write -P {pattern + 1} {3 * eighth + 1024} 70000",
            $"write -P {pattern + 2} {size - 1536} 1536",
            $"write -z {eighth + 65536} 65536",
            $"write -z -u {5 * eighth} {eighth}",
            $"write -P {pattern + 3} {6 * eighth - 4096} 512");
        return path;
    }

    private string Compressed(string name, string type)
    {
        var source = Fill(folder.Image("source.qcow2", $"{size}"), 7);
        var path = folder.File(name);
        Run.QemuImg("convert", "-c", "-f", "qcow2", "-O", "qcow2", "-o", Options + (type == "zlib" ? "" : $",compression_type={type}"),
            source, path);
        return path;
    }

    private ShapedImage WithSnapshots()
    {
        var path = Filled("disk.qcow2");
        Run.QemuImg("snapshot", "-c", "first", path);
        Fill(path, 20);
        Run.QemuImg("snapshot", "-c", "second", path);
        Run.QemuIo(path, "write -P 40 4096 8192");
        return new ShapedImage(path, [], ["first", "second"]);
    }

    private string RawBase(string name, long length)
    {
        var path = folder.File(name);
        using (var file = File.Create(path))
            file.SetLength(length);
        Run.QemuIoAs("raw", path, $"write -P 9 0 {length / 3 / 512 * 512}", $"write -P 11 {length - 2048} 2048");
        return path;
    }

    private ShapedImage Over(string below, string format, string? name = null)
    {
        var path = folder.Overlay("disk.qcow2", name ?? below, format, $"{size}", Options);
        Run.QemuIo(path, "write -P 50 65536 5000", $"write -z {size / 2 / 65536 * 65536} 65536", $"write -P 51 {size - 512} 512");
        return new ShapedImage(path, [below], []);
    }

    private ShapedImage Chain()
    {
        var bottom = RawBase("bottom.raw", size / 2 / 512 * 512);
        var middle = Fill(folder.Overlay("middle.qcow2", "bottom.raw", "raw", $"{size}", $"cluster_size={OtherClusterSize}"), 13);
        var top = Over(middle, "qcow2", "middle.qcow2");
        return top with { Below = [middle, bottom] };
    }

    private ShapedImage Elsewhere()
    {
        folder.Sub("bases");
        var below = Filled("bases/base.qcow2");
        return Over(below, "qcow2", "bases/../bases/base.qcow2");
    }
}
