using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Tests.Shared;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>Images that qemu made, with data, snapshots, bitmaps and compressed clusters as their options allow.</summary>
internal static class SampleImages
{
    /// <summary>Creation options of the matrix: versions, cluster sizes, refcount widths, compression.</summary>
    public static IReadOnlyList<string> Options { get; } =
    [
        "compat=0.10",
        "compat=0.10,cluster_size=512",
        "compat=0.10,cluster_size=2M",
        "compat=1.1",
        "compat=1.1,cluster_size=512",
        "compat=1.1,cluster_size=4096,refcount_bits=1",
        "compat=1.1,cluster_size=512,refcount_bits=2",
        "compat=1.1,cluster_size=4096,refcount_bits=4",
        "compat=1.1,cluster_size=1024,refcount_bits=8",
        "compat=1.1,cluster_size=65536,refcount_bits=32",
        "compat=1.1,cluster_size=512,refcount_bits=64",
        "compat=1.1,cluster_size=2M,refcount_bits=64",
        "compat=1.1,cluster_size=4096,compression_type=zstd",
        "compat=1.1,cluster_size=65536,lazy_refcounts=on",
        "compat=1.1,cluster_size=65536,extended_l2=on",
    ];

    /// <summary>Makes an image with some of everything that <paramref name="options"/> allow.</summary>
    public static string Make(TempDirectory directory, string options, string name = "disk.qcow2")
    {
        var image = directory.File(name);
        var raw = directory.File("content.raw");
        File.WriteAllBytes(raw, Content());
        // Compressed clusters share host clusters: more references than narrow refcounts can count.
        string[] compress = options.Contains("refcount_bits=2", System.StringComparison.Ordinal)
            || options.Contains("refcount_bits=4", System.StringComparison.Ordinal) ? [] : ["-c"];
        Qemu.Img(["convert", .. compress, "-f", "raw", "-O", "qcow2", "-o", options, raw, image]);
        Qemu.Img("resize", "-f", "qcow2", image, "5M");
        Qemu.Io(image, "write -P 17 0 70k", "write -P 18 3M 200k", "write -P 19 4097k 1k");
        if (!options.Contains("refcount_bits=1", System.StringComparison.Ordinal))
        {
            Qemu.Img("snapshot", "-c", "first", image);
            Qemu.Io(image, "write -P 20 0 10k", "discard 64k 128k", "write -P 21 3100k 64k");
            Qemu.Img("snapshot", "-c", "second", image);
            Qemu.Io(image, "write -P 22 3200k 4k");
        }

        if (options.StartsWith("compat=1.1", System.StringComparison.Ordinal))
        {
            Qemu.Io(image, "write -z 256k 128k", "write -z -u 512k 64k");
            Qemu.Img("bitmap", "--add", "-g", "65536", image, "dirty");
            Qemu.Io(image, "write -P 23 4M 80k");
        }

        return image;
    }

    private static byte[] Content()
    {
        var content = new byte[2 << 20];
        for (var index = 0; index < 700_000; index++)
            content[index + 100_000] = (byte)(index / 37 * 11 % 13);
        return content;
    }
}
