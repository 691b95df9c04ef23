using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Crypto;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Crash;

/// <summary>An image that qemu made, as it is before a workload.</summary>
/// <param name="Name">what is special about it</param>
/// <param name="Image">the file</param>
/// <param name="Backing">the file below it, or null</param>
/// <param name="HasDataFile">whether the data file is in <paramref name="Image"/>, too, at <see cref="StorageWindow.DataStart"/></param>
internal sealed record Subject(string Name, SparseBytes Image, SparseBytes? Backing, bool HasDataFile = false)
{
    /// <summary>The name under which an overlay expects its backing file, in its own directory.</summary>
    public const string BackingName = "base.qcow2";

    private const int DiskSize = 4 << 20;

    /// <summary>What decrypts its guest data; null if that is not encrypted.</summary>
    public SectorCipher? Cipher { get; init; }

    /// <summary>Whether the data file is the disk, whatever the entries say.</summary>
    public bool HasRawDataFile { get; init; }

    /// <summary>One of each kind; made once, then shared and never changed.</summary>
    public static IReadOnlyList<Subject> All { get; } = MakeAll();

    /// <summary>The disk before the workload, all of it.</summary>
    public byte[] Content() => Reader(Image).ReadAll();

    /// <summary>Reads the disk in a later state of the image.</summary>
    public GuestReader Reader(IImageBytes image) => new(
        image,
        Backing is null ? null : new GuestReader(Backing),
        HasDataFile ? StorageWindow.DataOf(image) : Cipher is null ? null : new DecryptedBytes(image, Cipher));

    /// <summary>Opens a state of the image with the engine.</summary>
    public async LoopTask<Qcow2Image> OpenAsync(MemoryStorage storage, ImageOptions options, IDisk? backing)
    {
        if (!HasDataFile)
            return await Qcow2Image.OpenAsync(storage, options, backing, await LuksImage.OpenAsync(storage));
        var (image, data) = StorageWindow.Both(storage);
        return await Qcow2Image.OpenAsync(image, options, backing, data);
    }

    /// <summary>Asks qemu-img what it thinks of a state of the image.</summary>
    public Verdict Check(CrashImage state, TempDirectory directory, out string report)
    {
        var file = directory.File("crash.qcow2");
        Backing?.Save(directory.File(BackingName));
        if (!HasDataFile)
        {
            state.Save(file);
            return Qemu.Check(Cipher is null ? ["-f", "qcow2", file] : LuksImage.Opened(file), out report);
        }

        StorageWindow.Split(state, file, directory.File("data.raw"));
        return Qemu.Check([DataFileImages.Name(file, directory.File("data.raw"))], out report);
    }

    /// <summary>The disks of the internal snapshots before the workload: they stay so.</summary>
    public IReadOnlyList<byte[]> Snapshots() => [.. Reader(Image).Snapshots().Select(static snapshot => snapshot.ReadAll())];

    private static List<Subject> MakeAll()
    {
        using var directory = new TempDirectory();
        return
        [
            Empty(directory, "empty", "cluster_size=65536"),
            Empty(directory, "version 2", "compat=0.10,cluster_size=4096"),
            Empty(directory, "refcount table that must grow", "cluster_size=512,refcount_bits=64"),
            Empty(directory, "L2 tables of one sector", "cluster_size=512,refcount_bits=1"),
            Empty(directory, "refcounts of four bits", "cluster_size=4096,refcount_bits=4"),
            Empty(directory, "lazy refcounts", "cluster_size=4096,lazy_refcounts=on"),
            Empty(directory, "preallocated", "cluster_size=4096,preallocation=metadata"),
            Empty(directory, "preallocated with large clusters", "cluster_size=128k,preallocation=metadata"),
            Overlay(directory, "overlay", "cluster_size=4096"),
            Overlay(directory, "overlay with larger clusters", "cluster_size=65536"),
            Overlay(directory, "overlay of version 2", "compat=0.10,cluster_size=1024"),
            Snapshots(directory, "snapshots", "cluster_size=4096"),
            Snapshots(directory, "snapshots with small clusters", "cluster_size=512,refcount_bits=8"),
            Compressed(directory, "compressed", "cluster_size=65536", snapshot: false),
            Compressed(directory, "compressed with snapshot", "cluster_size=4096", snapshot: true),
            DataFile(directory, "data file", "cluster_size=4096,data_file_raw=off"),
            DataFile(directory, "raw data file", "cluster_size=65536,data_file_raw=on"),
            DataFile(directory, "data file with subclusters", "cluster_size=16384,extended_l2=on,data_file_raw=off"),
            Empty(directory, "subclusters", "cluster_size=16384,extended_l2=on"),
            Overlay(directory, "overlay with subclusters", "cluster_size=65536,extended_l2=on"),
            Snapshots(directory, "snapshots with subclusters", "cluster_size=16384,extended_l2=on"),
            Compressed(directory, "compressed with subclusters", "cluster_size=65536,extended_l2=on", snapshot: true),
            Encrypted(directory, "encrypted", "cluster_size=4096"),
            Encrypted(directory, "encrypted, with large clusters", "cluster_size=128k"),
            Encrypted(directory, "encrypted overlay with subclusters", "cluster_size=65536,extended_l2=on", isOverlay: true),
        ];
    }

    private static Subject Empty(TempDirectory directory, string name, string options)
    {
        var image = directory.File("image.qcow2");
        Qemu.Img("create", "-f", "qcow2", "-o", options, image, $"{DiskSize}");
        return new Subject(name, SparseBytes.FromFile(image), null);
    }

    private static void Shorten(string path, long length)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
        RandomAccess.SetLength(file, length);
    }

    private static Subject DataFile(TempDirectory directory, string name, string options)
    {
        var image = directory.File("image.qcow2");
        var data = directory.File("data.raw");
        Qemu.Img("create", "-f", "qcow2", "-o", $"{options},data_file={data}", image, $"{DiskSize}");
        Qemu.Io(image, "write -P 181 0 300k", "write -z 1300k 100k", "write -P 182 2M 10k", "discard 64k 192k");

        // One that has to grow again; a raw one has the size of the disk.
        if (!options.Contains("raw=on", StringComparison.Ordinal))
            Shorten(data, (2 << 20) + 10240);
        return new Subject(name, StorageWindow.Join(SparseBytes.FromFile(image), SparseBytes.FromFile(data)), null, HasDataFile: true)
        {
            HasRawDataFile = options.Contains("raw=on", StringComparison.Ordinal),
        };
    }

    private static Subject Overlay(TempDirectory directory, string name, string options)
    {
        var below = directory.File(BackingName);
        var image = directory.File("image.qcow2");
        // Shorter than the overlay, with clusters of another size.
        Qemu.Img("create", "-f", "qcow2", "-o", "cluster_size=16384", below, "3M");
        Qemu.Io(below, "write -P 161 0 1M", "write -P 162 1500k 100k", "write -P 163 2999k 73k");
        Qemu.Img("create", "-f", "qcow2", "-o", options, "-b", BackingName, "-F", "qcow2", image, $"{DiskSize}");
        Qemu.Io(image, "write -P 164 100k 300k");
        return new Subject(name, SparseBytes.FromFile(image), SparseBytes.FromFile(below));
    }

    private static Subject Encrypted(TempDirectory directory, string name, string options, bool isOverlay = false)
    {
        var image = directory.File("encrypted.qcow2");
        var below = isOverlay ? Overlay(directory, name, "cluster_size=65536").Backing : null;
        string[] rest = isOverlay ? ["-b", BackingName, "-F", "qcow2", $"{DiskSize}"] : [$"{DiskSize}"];
        LuksImage.Make(image, $"encrypt.format=luks,{options}", rest, "write -P 164 100k 300k");
        var content = SparseBytes.FromFile(image);
        return new Subject(name, content, below) { Cipher = LuksImage.Cipher(content) };
    }

    private static Subject Snapshots(TempDirectory directory, string name, string options)
    {
        var image = directory.File("image.qcow2");
        Qemu.Img("create", "-f", "qcow2", "-o", options, image, $"{DiskSize}");
        Qemu.Io(image, "write -P 171 0 1200k", "write -z 1300k 100k");
        Qemu.Img("snapshot", "-c", "first", image);
        Qemu.Io(image, "write -P 172 500k 300k");
        Qemu.Img("snapshot", "-c", "second", image);
        Qemu.Io(image, "write -P 173 600k 30k", "discard 0 64k");
        return new Subject(name, SparseBytes.FromFile(image), null);
    }

    private static Subject Compressed(TempDirectory directory, string name, string options, bool snapshot)
    {
        var raw = directory.File("raw");
        var image = directory.File("image.qcow2");
        var content = new byte[DiskSize];
        for (var index = 0; index < content.Length / 2; index++)
            content[index] = (byte)(index / 100 * 7 % 251);
        File.WriteAllBytes(raw, content);
        Qemu.Img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, image);
        if (snapshot)
            Qemu.Img("snapshot", "-c", "first", image);
        return new Subject(name, SparseBytes.FromFile(image), null);
    }
}
