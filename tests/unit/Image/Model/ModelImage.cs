using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Image.Model;

/// <summary>A chain of images that qemu made, and the disk in it as qemu reads it.</summary>
/// <param name="Files">the image first, then what is below it</param>
/// <param name="Content">the disk, read by qemu-img convert</param>
/// <param name="ClusterSize">of the image</param>
/// <param name="Snapshot">the disk in the image's internal snapshot "first", read by qemu-img convert; null if there is none</param>
/// <param name="DiscardUnit">bytes that a discard makes read as zeroes as one: a cluster or a subcluster</param>
/// <param name="MayKeepDiscarded">whether a discard may leave some of the range as it was</param>
/// <param name="HasDataFile">whether the data file is in the first of the files, too, at <see cref="StorageWindow.DataStart"/></param>
/// <param name="IsRaw">whether the data file must be the disk</param>
/// <param name="Discards">whether a discard makes whole clusters read as zeroes (version 2 over a backing file cannot)</param>
internal sealed record ModelImage(IReadOnlyList<(string Name, bool Raw, SparseBytes Bytes)> Files, byte[] Content, byte[]? Snapshot,
    int ClusterSize, int DiscardUnit, bool MayKeepDiscarded, bool HasDataFile, bool IsRaw, bool Discards)
{
    private static readonly Dictionary<string, ModelImage> s_made = [];

    /// <summary>How the images of the matrix are made: options of the image, then what is below.</summary>
    public static IReadOnlyDictionary<string, (string Options, long Size, Func<TempDirectory, List<(string Name, bool Raw)>> Below,
        bool Compress, bool Snapshot)> Matrix
    { get; } =
        new Dictionary<string, (string, long, Func<TempDirectory, List<(string, bool)>>, bool, bool)>
        {
            ["version 2"] = ("compat=0.10", (1 << 20) + 1536, Nothing, false, false),
            ["version 2, clusters of 512"] = ("compat=0.10,cluster_size=512", (1 << 20) + 512, Nothing, false, true),
            ["version 2 over a base"] = ("compat=0.10,cluster_size=4096", 2 << 20, ShorterBase, false, false),
            ["clusters of 512, refcounts of 1 bit"] = ("cluster_size=512,refcount_bits=1", 1 << 20, Nothing, false, false),
            ["clusters of 512, refcounts of 64 bits"] = ("cluster_size=512,refcount_bits=64", (2 << 20) - 512, Nothing, false, true),
            ["clusters of 1024, refcounts of 2 bits"] = ("cluster_size=1024,refcount_bits=2", 1 << 20, Nothing, false, true),
            ["clusters of 4096, refcounts of 8 bits"] = ("cluster_size=4096,refcount_bits=8", 1 << 20, Nothing, false, true),
            ["clusters of 65536"] = ("cluster_size=65536", (2 << 20) + 512, Nothing, false, false),
            ["preallocated"] = ("cluster_size=65536,preallocation=metadata", (2 << 20) + 512, Nothing, false, false),
            ["preallocated, clusters of 4096, with snapshot"] = ("cluster_size=4096,preallocation=metadata", 2 << 20, Nothing, false, true),
            ["over a preallocated base"] = ("cluster_size=16384", 2 << 20, PreallocatedBase, false, true),
            ["clusters of 65536 with snapshot"] = ("cluster_size=65536,refcount_bits=32", (2 << 20) + 512, Nothing, false, true),
            ["clusters of 2M"] = ("cluster_size=2M", (5 << 20) + 512, Nothing, false, true),
            ["zlib"] = ("cluster_size=65536", 2 << 20, Nothing, true, false),
            ["zlib with snapshot"] = ("cluster_size=4096", (1 << 20) + 2048, Nothing, true, true),
            ["zstd"] = ("cluster_size=16384,compression_type=zstd", 1 << 20, Nothing, true, false),
            ["over a shorter base of larger clusters"] = ("cluster_size=4096", (2 << 20) + 512, ShorterBase, false, true),
            ["over a longer base"] = ("cluster_size=65536", 1 << 20, LongerBase, false, false),
            ["over a raw base of odd size"] = ("cluster_size=4096", 1 << 20, RawBase, false, false),
            ["over two bases"] = ("cluster_size=65536", 3 << 20, TwoBases, false, true),
            ["subclusters of 512"] = ("cluster_size=16384,extended_l2=on", (2 << 20) + 512, Nothing, false, true),
            ["subclusters over a shorter base"] = ("cluster_size=65536,extended_l2=on", (2 << 20) + 512, ShorterBase, false, true),
            ["subclusters of 64K"] = ("cluster_size=2M,extended_l2=on", (5 << 20) + 512, Nothing, false, false),
            ["subclusters, preallocated over a base"] =
                ("cluster_size=65536,extended_l2=on,preallocation=metadata", 2 << 20, ShorterBase, false, false),
            ["subclusters, zlib with snapshot"] = ("cluster_size=65536,extended_l2=on", 2 << 20, Nothing, true, true),
            ["data file"] = ("cluster_size=65536,data_file_raw=off", (2 << 20) + 512, Nothing, false, false),
            ["raw data file"] = ("cluster_size=4096,data_file_raw=on", (1 << 20) + 512, Nothing, false, false),
            ["data file over a base"] = ("cluster_size=16384,data_file_raw=off", 2 << 20, ShorterBase, false, false),
            ["data file with subclusters"] = ("cluster_size=65536,extended_l2=on,data_file_raw=off", 2 << 20, ShorterBase, false, false),
            ["lazy refcounts"] = ("cluster_size=4096,lazy_refcounts=on", 1 << 20, Nothing, false, false),
        };

    public static ModelImage Get(string name)
    {
        lock (s_made)
        {
            if (!s_made.TryGetValue(name, out var image))
                s_made.Add(name, image = Make(name));
            return image;
        }
    }

    /// <summary>Opens the chain with the engine; <paramref name="storage"/> holds a copy of the top file.</summary>
    public async LoopTask<Qcow2Image> OpenAsync(SimulatedLoop loop, IBlockStorage storage, ImageOptions options)
    {
        IDisk? below = null;
        for (var index = Files.Count - 1; index > 0; index--)
        {
            var file = BackingFile.Open(loop, Files[index].Bytes, Files[index].Name);
            below = Files[index].Raw ? new RawDisk(file, readOnly: true)
                : await Qcow2Image.OpenAsync(file, new ImageOptions { ReadOnly = true }, below);
        }

        if (!HasDataFile)
            return await Qcow2Image.OpenAsync(storage, options, below);
        var (image, data) = StorageWindow.Both((MemoryStorage)storage);
        return await Qcow2Image.OpenAsync(image, options, below, data);
    }

    /// <summary>Lets qemu judge the image after the test: sound, and the same disk as the model.</summary>
    public void AssertQemuAgrees(SparseBytes image, byte[] model, bool leaksAllowed)
    {
        using var directory = new TempDirectory();
        foreach (var (name, _, bytes) in Files.Skip(1))
            bytes.Save(directory.File(name));
        var file = directory.File(Files[0].Name);
        var raw = directory.File("model.raw");
        string[] opened = ["-f", "qcow2", file];
        if (HasDataFile)
        {
            var data = directory.File("data.raw");
            StorageWindow.Split(image, file, data);
            opened = [DataFileImages.Name(file, data)];
            if (IsRaw && !File.ReadAllBytes(data).AsSpan(0, model.Length).SequenceEqual(model))
                throw new InvalidOperationException("the raw data file is not the disk");
        }
        else
        {
            image.Save(file);
        }

        File.WriteAllBytes(raw, model);
        var verdict = Qemu.Check(opened, out var report);
        if (verdict == Verdict.Errors || (verdict == Verdict.Leaks && !leaksAllowed))
            throw new InvalidOperationException($"qemu-img check: {report}");
        Qemu.Img(["compare", "-F", "raw", .. opened, raw]);
    }

    /// <summary>The internal snapshot is what it was before the test, as the engine reads it.</summary>
    public void AssertSnapshotHolds(SparseBytes image)
    {
        if (Snapshot is null)
            return;
        using var loop = new SimulatedLoop(1);
        using var buffer = new TableBuffer(Snapshot.Length);
        loop.Run(async () =>
        {
            var reader = await OpenAsync(loop, new MemoryStorage(loop, image, readOnly: true), new ImageOptions { Snapshot = "first" });
            var error = await reader.ReadAsync(0, buffer.Take(Snapshot.Length));
            return error < 0 ? error : await reader.CloseAsync();
        });
        var at = buffer.Span[..Snapshot.Length].CommonPrefixLength(Snapshot);
        if (at != Snapshot.Length)
            throw new InvalidOperationException($"byte {at} of the snapshot reads {buffer.Span[at]:x2}, not {Snapshot[at]:x2}");
    }

    private static ModelImage Make(string name)
    {
        var (options, size, below, compress, snapshot) = Matrix[name];
        using var directory = new TempDirectory();
        var files = below(directory);
        var image = directory.File("image.qcow2");
        var data = directory.File("data.raw");
        var hasDataFile = options.Contains("data_file_raw", StringComparison.Ordinal);
        if (hasDataFile)
            options += $",data_file={data}";
        if (compress)
            Qemu.Img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, Pattern(directory, (int)size), image);
        else if (files.Count > 0)
            Qemu.Img("create", "-f", "qcow2", "-o", options, "-b", files[0].Name, "-F", files[0].Raw ? "raw" : "qcow2", image, $"{size}");
        else
            Qemu.Img("create", "-f", "qcow2", "-o", options, image, $"{size}");
        Qemu.Io(image, "write -P 31 100k 200k", "write -P 32 700k 4k", "write -P 33 900k 1k");
        if (snapshot)
        {
            Qemu.Img("snapshot", "-c", "first", image);
            Qemu.Io(image, "write -P 34 150k 10k", "discard 200k 64k");
        }

        var raw = directory.File("content.raw");
        Qemu.Img("convert", "-f", "qcow2", "-O", "raw", image, raw);
        var first = directory.File("first.raw");
        if (snapshot)
            Qemu.Img("convert", "-f", "qcow2", "-l", "first", "-O", "raw", image, first);
        var isExtended = options.Contains("extended_l2=on", StringComparison.Ordinal);
        var top = SparseBytes.FromFile(image);

        // One that has to grow again; a raw one has the size of the disk.
        if (hasDataFile && !options.Contains("raw=on", StringComparison.Ordinal))
            Shorten(data, 960 << 10);
        if (hasDataFile)
            top = StorageWindow.Join(top, SparseBytes.FromFile(data));
        return new ModelImage(
            [
                ("image.qcow2", false, top),
                .. files.Select(file => (file.Item1, file.Item2, SparseBytes.FromFile(directory.File(file.Item1)))),
            ],
            File.ReadAllBytes(raw),
            snapshot ? File.ReadAllBytes(first) : null,
            1 << File.ReadAllBytes(image)[23],
            DiscardUnit: 1 << (File.ReadAllBytes(image)[23] - (isExtended ? 5 : 0)),
            MayKeepDiscarded: (isExtended && compress) || options.Contains("data_file_raw=on", StringComparison.Ordinal),
            HasDataFile: hasDataFile,
            IsRaw: options.Contains("data_file_raw=on", StringComparison.Ordinal),
            Discards: !options.StartsWith("compat=0.10", StringComparison.Ordinal) || files.Count == 0);
    }

    private static void Shorten(string path, long length)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
        RandomAccess.SetLength(file, length);
    }

    private static List<(string, bool)> Nothing(TempDirectory directory) => [];

    private static List<(string, bool)> ShorterBase(TempDirectory directory) => Base(directory, "cluster_size=16384", 1000 << 10);

    private static List<(string, bool)> LongerBase(TempDirectory directory) => Base(directory, "cluster_size=512", (2 << 20) + 512);

    private static List<(string, bool)> PreallocatedBase(TempDirectory directory) =>
        Base(directory, "cluster_size=65536,preallocation=metadata", (2 << 20) + 512);

    private static List<(string, bool)> Base(TempDirectory directory, string options, long size)
    {
        Qemu.Img("create", "-f", "qcow2", "-o", options, directory.File("base.qcow2"), $"{size}");
        Qemu.Io(directory.File("base.qcow2"), "write -P 41 0 500k", "write -P 42 900k 100k");
        return [("base.qcow2", false)];
    }

    private static List<(string, bool)> RawBase(TempDirectory directory)
    {
        File.Copy(Pattern(directory, 700_001), directory.File("base.raw"));
        return [("base.raw", true)];
    }

    private static List<(string, bool)> TwoBases(TempDirectory directory)
    {
        Qemu.Img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4096", Pattern(directory, 2 << 20),
            directory.File("bottom.qcow2"));
        Qemu.Img("create", "-f", "qcow2", "-o", "cluster_size=512", "-b", "bottom.qcow2", "-F", "qcow2", directory.File("middle.qcow2"),
            $"{(1 << 20) + 512}");
        Qemu.Io(directory.File("middle.qcow2"), "write -P 43 300k 100k", "write -z 500k 100k");
        return [("middle.qcow2", false), ("bottom.qcow2", false)];
    }

    private static string Pattern(TempDirectory directory, int length)
    {
        var bytes = new byte[length];
        for (var index = 0; index < length; index++)
            bytes[index] = (byte)(index / 77 % 4 == 0 ? 0 : index / 1000 % 251);
        File.WriteAllBytes(directory.File("pattern.raw"), bytes);
        return directory.File("pattern.raw");
    }
}
