using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Tests.Shared;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>Sound images of every kind, made by qemu: what the damage is done to.</summary>
internal static class CheckedImages
{
    private const string Secret = "secret,id=key,data=hidden";

    /// <summary>Options of images beside <see cref="SampleImages.Options"/>.</summary>
    private static readonly string[] s_more =
    [
        "compat=1.1,cluster_size=16384,extended_l2=on",
        "compat=1.1,cluster_size=16384,extended_l2=on,refcount_bits=8",
        "compat=1.1,cluster_size=4096,preallocation=metadata",
        "compat=1.1,cluster_size=512,preallocation=metadata",
        "compat=1.1,cluster_size=4096,data_file=",
        "compat=1.1,cluster_size=16384,extended_l2=on,data_file=",
        "compat=1.1,cluster_size=65536,data_file_raw=on,data_file=",
        "compat=1.1,cluster_size=65536,encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10",
        "compat=1.1,cluster_size=4096,encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10",
    ];

    public static IReadOnlyList<string> Options { get; } = [.. SampleImages.Options, .. s_more];

    public static bool IsEncrypted(string options) => options.Contains("luks", StringComparison.Ordinal);

    /// <summary>Makes an image in a directory, with the file for its data if it has one.</summary>
    public static string Make(TempDirectory directory, string options)
    {
        if (!s_more.Contains(options) || (options.Contains("extended", StringComparison.Ordinal) && !HasDataFile(options)))
            return SampleImages.Make(directory, options);
        var image = directory.File("disk.qcow2");
        string[] secret = IsEncrypted(options) ? ["--object", Secret] : [];
        var data = HasDataFile(options) ? directory.File("data.raw") : "";
        string[] create = ["create", .. secret, "-f", "qcow2", "-o", options + data, image, "5M"];

        // LUKS: on a busy machine qemu cannot measure its own work ("Unable to get accurate CPU usage"), and gives up.
        for (var attempt = 0; attempt < 20 && IsEncrypted(options) && Qemu.Run("qemu-img", create).Exit != 0; attempt++)
            System.Threading.Thread.Sleep(200);
        if (!IsEncrypted(options))
            Qemu.Img(create);
        Fill(image, options);
        return image;
    }

    /// <summary>What qemu-img needs to open an image as a whole.</summary>
    public static string[] Open(string image, string options) => IsEncrypted(options)
        ? ["--object", Secret, "--image-opts", $"driver=qcow2,file.filename={image},encrypt.format=luks,encrypt.key-secret=key"]
        : ["-f", "qcow2", image];

    /// <summary>The damage to an image whose bitmaps were removed.</summary>
    public static StructuredDamage WithoutBitmaps(string image, string options)
    {
        var copy = image + ".plain";
        File.Copy(image, copy, overwrite: true);
        foreach (var name in (string[])["dirty", "other"])
            _ = Qemu.Run("qemu-img", "bitmap", "--remove", copy, name);
        return new StructuredDamage(File.ReadAllBytes(copy));
    }

    /// <summary>The damage to an image whose snapshots were deleted.</summary>
    public static StructuredDamage WithoutSnapshots(string image, string options)
    {
        var copy = image + ".plain";
        File.Copy(image, copy, overwrite: true);
        foreach (var name in (string[])["first", "second"])
        {
            _ = Qemu.Run("qemu-img",
                ["snapshot", .. IsEncrypted(options) ? Open(copy, options)[..^1] : [], "-d", name, Open(copy, options)[^1]]);
        }

        return new StructuredDamage(File.ReadAllBytes(copy));
    }

    private static bool HasDataFile(string options) => options.Contains("data_file", StringComparison.Ordinal);

    private static void Fill(string image, string options)
    {
        Do("write -P 17 0 70k", "write -P 18 3M 200k", "write -P 19 4097k 1k", "write -z 256k 128k");
        if (!HasDataFile(options))
        {
            Qemu.Img([.. Snapshot("first")]);
            Do("write -P 20 0 10k", "discard 64k 128k", "write -P 21 3100k 64k");
            Qemu.Img([.. Snapshot("second")]);
            Do("write -P 22 3200k 4k", "write -z -u 512k 64k");
        }

        if (!IsEncrypted(options))
        {
            Qemu.Img("bitmap", "--add", "-g", "65536", image, "dirty");
            Qemu.Img("bitmap", "--add", "-g", "4096", image, "other");
            Do("write -P 23 4M 80k");
        }

        void Do(params string[] commands)
        {
            var each = commands.SelectMany(command => (string[])["-c", command]);
            var (exit, output, errors) = Qemu.Run("qemu-io", [.. Open(image, options)[..^1], .. each, Open(image, options)[^1]]);
            if (exit != 0)
                throw new InvalidOperationException($"qemu-io: {output}{errors}");
        }

        string[] Snapshot(string name) => IsEncrypted(options)
            ? ["snapshot", .. Open(image, options)[..^1], "-c", name, Open(image, options)[^1]]
            : ["snapshot", "-c", name, image];
    }
}
