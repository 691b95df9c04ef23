using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Interop.Matrix;

/// <summary>The image of a case, with all files that belong to it, and qemu's programs on it.</summary>
internal sealed class MatrixImage
{
    private const string Key = "correct horse";

    private readonly Folder _folder;
    private readonly ImageCase _case;
    private readonly long _size;
    private readonly string _keyFile;
    private readonly List<string> _snapshots = [];
    private readonly List<string> _bitmaps = [];

    public MatrixImage(Folder folder, ImageCase image)
    {
        _folder = folder;
        _case = image;
        _size = image["cluster"] == "2M" ? 9 * 1048576 + 512 : 5 * 1048576 + 1536;
        Path = folder.File("disk.qcow2");
        DataFile = folder.File("data.raw");
        _keyFile = folder.File("key");
        File.WriteAllText(_keyFile, Key);
        Below = MakeBelow();
        Make();
        Fill();
    }

    public string Path { get; }

    /// <summary>The external data file, if the image has one.</summary>
    public string DataFile { get; }

    /// <summary>The file below the image, or null.</summary>
    public string? Below { get; }

    public IReadOnlyList<string> Snapshots => _snapshots;

    private bool IsEncrypted => _case["encryption"] == "luks";

    /// <summary>What attach needs to be told.</summary>
    public string[] AttachOptions => IsEncrypted ? ["--discard", "unmap", "--key-file", _keyFile] : ["--discard", "unmap"];

    /// <summary>The disk as qemu reads it.</summary>
    public string Raw(string name, string? snapshot = null)
    {
        var path = _folder.File(name);
        string[] which = snapshot is null ? [] : ["-l", $"snapshot.name={snapshot}"];
        Run.QemuImg(["convert", .. Secret, "--image-opts", "-O", "raw", .. which, Options, path]);
        return path;
    }

    public void TakeSnapshot(string name)
    {
        Run.QemuImg(["snapshot", .. Secret, "--image-opts", "-c", name, Options]);
        NoteSnapshot(name);
    }

    /// <summary>Somebody else has taken a snapshot.</summary>
    public void NoteSnapshot(string name) => _snapshots.Add(name);

    public void AddBitmap(string name)
    {
        Run.QemuImg(["bitmap", .. Secret, "--image-opts", "--add", Options, name]);
        Raw($"bitmap-{name}.raw");
        _bitmaps.Add(name);
    }

    /// <summary>qemu finds in each bitmap whatever differs from what the disk was when the bitmap began.</summary>
    public void AssertBitmapsCover(string model)
    {
        var now = File.ReadAllBytes(model);
        foreach (var name in _bitmaps)
        {
            var then = File.ReadAllBytes(_folder.File($"bitmap-{name}.raw"));
            foreach (var (start, length) in Dirty(name))
                now.AsSpan((int)start, (int)length).CopyTo(then.AsSpan((int)start));
            var first = then.AsSpan().CommonPrefixLength(now);
            Assert.True(first == now.Length, $"bitmap {name} does not have byte {first}, which was changed");
        }
    }

    /// <summary>Gives up what a killed server took and did not use.</summary>
    /// <remarks>By ours: qemu-img 7.2 loses all snapshots in a repair of an image with unknown autoclear bits.</remarks>
    public void FreeLeaks()
    {
        var outcome = _folder.Qcow2Blk("check", "--repair", "leaks", Path);
        Assert.True(outcome.Status == 0, $"exit {outcome.Status}\n{outcome.Errors}{outcome.Output}");
    }

    public void AssertClean()
    {
        var outcome = Check();
        Assert.True(outcome.Status == 0, $"exit {outcome.Status}\n{outcome.Errors}{outcome.Output}");
    }

    /// <summary>No error; what a kill may leave is leaks, or, where refcounts are lazy, tables that are to be rebuilt.</summary>
    /// <remarks>
    /// Rebuilt by ours: qemu-img writes the header when it repairs, as somebody who knows nothing of bitmaps that survive a kill, so they
    /// do not survive that; qemu-img 7.2 loses all snapshots then.
    /// </remarks>
    public void AssertSound()
    {
        if (_case["lazy"] == "on")
            _folder.Qcow2Blk("check", "--repair", "all", Path).Passed();
        var outcome = Check();
        var report = JsonDocument.Parse(outcome.Output).RootElement;
        Assert.True(outcome.Status is 0 or 3 && !report.TryGetProperty("corruptions", out _), $"exit {outcome.Status}\n{outcome.Output}");
    }

    public void AssertHolds(string model)
    {
        Run.QemuImg(["compare", .. Secret, "--image-opts", $"driver=raw,file.filename={model}", Options]);
        if (_case["data"] == "raw" && !IsEncrypted)
            Run.QemuImg("compare", "-f", "raw", "-F", "raw", model, DataFile);
    }

    private IReadOnlyList<(long Start, long Length)> Dirty(string name)
    {
        using var server = QemuNbd.ServeOptions(_folder, out var socket, ["-t", "-r", "-B", name, .. Secret, "--image-opts", Options]);
        return QemuBitmap.DirtyOf(socket, "", name);
    }

    private Outcome Check() => Run.Program("qemu-img", ["check", "--output=json", .. Secret, "--image-opts", Options]);

    private string[] Secret => IsEncrypted ? ["--object", $"secret,id=key,file={_keyFile}"] : [];

    private string Options => $"driver=qcow2,file.filename={Path}" + (IsEncrypted ? ",encrypt.key-secret=key" : "");

    private string? MakeBelow()
    {
        var path = _folder.File("base");
        switch (_case["backing"])
        {
            case "none":
                return null;
            case "raw" or "shorter":
                var length = _case["backing"] == "raw" ? _size : _size / 2 / 512 * 512 + 512;
                using (var file = File.Create(path))
                    file.SetLength(length);
                Run.QemuIoAs("raw", path, $"write -P 9 0 {length / 3 / 512 * 512}", $"write -P 11 {length - 2048} 2048");
                return path;
            default:
                var source = _folder.Image("source.qcow2", $"{_size}", "cluster_size=4k");
                Run.QemuIo(source, "write -P 13 300k 900k", "write -z 2M 128k", $"write -P 14 {_size - 1536} 1536");
                string[] pack = _case["backing"] == "compressed" ? ["-c"] : [];
                Run.QemuImg(["convert", .. pack, "-f", "qcow2", "-O", "qcow2", source, path]);
                File.Delete(source);
                return path;
        }
    }

    private void Make()
    {
        var ours = _case["maker"] == "qcow2blk";
        List<string> options =
        [
            $"compat={(_case["version"] == "2" ? "0.10" : "1.1")}", $"cluster_size={_case["cluster"]}",
            $"refcount_bits={_case["refcount"]}",
            $"preallocation={_case["preallocation"]}", $"lazy_refcounts={_case["lazy"]}", $"extended_l2={_case["extended"]}",
        ];
        if (_case["compression"] == "zstd")
            options.Add("compression_type=zstd");
        if (_case["data"] != "none")
            options.AddRange([$"data_file={DataFile}", $"data_file_raw={(_case["data"] == "raw" ? "on" : "off")}"]);
        if (Below is not null)
            options.AddRange([$"backing_file={Below}", $"backing_fmt={(_case["backing"] is "raw" or "shorter" ? "raw" : "qcow2")}"]);
        if (IsEncrypted)
            options.AddRange(["encrypt.format=luks", "encrypt.iter-time=10"]);
        if (ours)
        {
            string[] key = IsEncrypted ? ["--key-file", _keyFile] : [];
            _folder.Qcow2Blk(["create", "-o", string.Join(',', options), Path, $"{_size}", .. key]).Passed();
            return;
        }

        if (IsEncrypted)
            options.Add("encrypt.key-secret=key");
        Retry(() => Run.Program("qemu-img",
            ["create", "-q", "-f", "qcow2", .. Secret, "-o", string.Join(',', options), Path, $"{_size}"]));
    }

    /// <summary>On a busy machine qemu-img sometimes cannot measure how fast it derives keys.</summary>
    private static void Retry(Func<Outcome> create)
    {
        for (var attempt = 0; ; attempt++)
        {
            var outcome = create();
            if (outcome.Status != 0 && attempt < 8 && outcome.Errors.Contains("accurate CPU usage", StringComparison.Ordinal))
                continue;
            outcome.Passed();
            return;
        }
    }

    private void Fill()
    {
        Io("write -P 1 64k 300k", "write -P 2 3000k 70000", $"write -P 3 {_size - 1536} 1536", "write -z 128k 64k", "discard 200k 100k");
        if (_case["compression"] != "none")
            Io($"write -c -P 4 4M {(_case["cluster"] == "2M" ? "2M" : "128k")}");
        if (_case["snapshots"] != "none")
        {
            TakeSnapshot("first");
            Io("write -P 5 100k 200k", "write -P 6 3M 10k");
        }

        if (_case["bitmaps"] != "none")
        {
            AddBitmap("before");
            Io("write -P 7 1M 64k");
        }
    }

    private void Io(params string[] commands)
    {
        var arguments = Secret.Append("--image-opts").Concat(commands.SelectMany(command => (string[])["-c", command])).Append(Options);
        var outcome = Run.Program("qemu-io", [.. arguments]).Passed();
        Assert.DoesNotContain("failed", outcome.Output + outcome.Errors, StringComparison.Ordinal);
    }
}
