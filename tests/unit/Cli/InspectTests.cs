using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary><c>info</c> and <c>map</c> against <c>qemu-img</c> on images that it made.</summary>
public sealed class InspectTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("q2b-inspect-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    public static TheoryData<string> CreateOptions { get; } =
    [
        "cluster_size=512", "cluster_size=4k", "cluster_size=64k", "cluster_size=2M", "compat=0.10", "refcount_bits=1", "refcount_bits=64",
        "lazy_refcounts=on", "preallocation=metadata", "preallocation=metadata,cluster_size=4k", "preallocation=falloc",
        "preallocation=full", "compression_type=zstd",
    ];

    [Theory]
    [MemberData(nameof(CreateOptions))]
    public void Map_equals_qemus(string options)
    {
        var image = Image("disk.qcow2", "40M", options);
        var zeroes = !options.StartsWith("compat=0.10", StringComparison.Ordinal);
        Write(image, ["write -P 1 0 64k", "write -P 2 1M 3k", "write -P 3 5000k 700k", "discard 5100k 64k", "write -P 4 39M 1M",
            .. zeroes ? (string[])["write -z 10M 1M", "write -z -u 12M 1M"] : []]);
        AssertMapEqualsQemus(image);
    }

    [Fact]
    public void Map_of_compressed_image_equals_qemus()
    {
        string plain = Image("plain.qcow2", "4M", "cluster_size=64k"), packed = Path.Combine(_folder, "packed.qcow2");
        Write(plain, ["write -P 1 0 1M", "write -P 2 2M 128k"]);
        Qemu("convert", "-c", "-O", "qcow2", plain, packed);
        AssertMapEqualsQemus(packed);
        var first = Command.Json("map", "--json", packed)[0];
        Assert.True(first.GetProperty("compressed").GetBoolean());
        Assert.Contains("compressed", Command.Run("map", packed).Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("6M", "10M", "4k", "64k")]
    [InlineData("10M", "6M", "64k", "512")]
    [InlineData("6M", "6M", "2M", "4k")]
    public void Map_of_a_chain_equals_qemus(string baseSize, string topSize, string baseCluster, string topCluster)
    {
        string raw = Path.Combine(_folder, "base.raw"), middle = Path.Combine(_folder, "middle.qcow2"),
            top = Path.Combine(_folder, "top.qcow2");
        Qemu("create", "-q", "-f", "raw", raw, "5M");
        Command.Start("qemu-io", "/", "-f", "raw", "-c", "write -P 9 1M 1M", raw);
        Qemu("create", "-q", "-f", "qcow2", "-o", $"cluster_size={baseCluster}", "-F", "raw", "-b", "base.raw", middle, baseSize);
        Write(middle, ["write -P 1 0 300k", "write -z 3M 512k"]);
        Qemu("create", "-q", "-f", "qcow2", "-o", $"cluster_size={topCluster}", "-F", "qcow2", "-b", "middle.qcow2", top, topSize);
        Write(top, ["write -P 2 100k 50k", "write -z 1100k 64k", "write -P 3 5500k 100k"]);
        AssertMapEqualsQemus(top);
        Assert.Equal(3, Command.Json("info", "--json", top).GetProperty("chain").GetArrayLength());
    }

    [Theory]
    [InlineData("metadata", "metadata")]
    [InlineData("metadata", "raw")]
    [InlineData("off", "metadata")]
    public void Map_of_a_chain_with_holes_of_its_files_equals_qemus(string top, string below)
    {
        var lower = Path.Combine(_folder, "base");
        if (below == "raw")
            Qemu("create", "-q", "-f", "raw", lower, "5M");
        else
            Qemu("create", "-q", "-f", "qcow2", "-o", $"preallocation={below}", lower, "5M");
        Command.Start("qemu-io", "/", "-f", below == "raw" ? "raw" : "qcow2", "-c", "write -P 9 1M 70k", lower);
        var image = Image("disk.qcow2", "6M", $"preallocation={top},cluster_size=4k");
        Qemu("rebase", "-u", "-f", "qcow2", "-F", below == "raw" ? "raw" : "qcow2", "-b", "base", image);
        Write(image, ["write -P 2 100k 50k", "write -z 3M 64k"]);
        AssertMapEqualsQemus(image);
        Assert.Equal(Qemu("map", "-f", "qcow2", image), Command.Run("map", image).Output);
    }

    [Fact]
    public void Human_map_equals_qemus()
    {
        var image = Image("disk.qcow2", "4M", "cluster_size=64k");
        Write(image, ["write -P 1 0 64k", "write -P 2 1M 100k"]);
        Assert.Equal(Qemu("map", "-f", "qcow2", image), Command.Run("map", image).Output);
    }

    [Theory]
    [MemberData(nameof(CreateOptions))]
    public void Info_equals_qemus(string options)
    {
        var image = Image("disk.qcow2", "40M", options);
        Qemu("snapshot", "-c", "first snapshot", image.Length > 0 && options != "refcount_bits=1" ? image
            : Image("other.qcow2", "1M", "compat=1.1"));
        if (!options.StartsWith("compat=0.10", StringComparison.Ordinal))
            Qemu("bitmap", "--add", "-g", "128k", image, "dirty");
        var ours = Command.Json("info", "--json", image);
        var qemu = JsonDocument.Parse(Qemu("info", "-f", "qcow2", "--output=json", image)).RootElement;
        var data = qemu.GetProperty("format-specific").GetProperty("data");
        foreach (var same in (string[])["virtual-size", "actual-size", "cluster-size", "format", "filename"])
            Assert.Equal(qemu.GetProperty(same).ToString(), ours.GetProperty(same).ToString());
        foreach (var same in (string[])["refcount-bits", "compression-type", "lazy-refcounts", "corrupt", "extended-l2"])
        {
            if (data.TryGetProperty(same, out var value))
                Assert.Equal(value.ToString(), ours.GetProperty(same).ToString());
        }

        Assert.Equal(data.GetProperty("compat").GetString() == "1.1" ? 3 : 2, ours.GetProperty("version").GetInt32());
        AssertSnapshotsEqual(qemu, ours);
        AssertBitmapsEqual(data, ours);
    }

    [Fact]
    public void Info_says_in_words_what_is_to_be_lost_and_shows_no_name_raw()
    {
        var image = Image("disk.qcow2", "1M", "compat=1.1");
        Qemu("bitmap", "--add", image, "\x1b[31mred");
        Qemu("bitmap", "--add", "--disable", image, "still");

        var text = Command.Run("info", image).Output;

        Assert.DoesNotContain('\x1b', text);
        Assert.Matches(@"(?m)^  \\x1b\[31mred +64 KiB +recording$", text);
        Assert.Matches(@"(?m)^  still +64 KiB +disabled$", text);
        Assert.Matches(@"(?m)^bitmaps +1 recording: the first write while attached makes it inconsistent$", text);
        Assert.Equal("\x1b[31mred", Command.Json("info", "--json", image).GetProperty("bitmaps")[0].GetProperty("name").GetString());
    }

    [Fact]
    public void Info_shows_an_image_whose_bitmaps_cannot_be_read()
    {
        var image = Image("disk.qcow2", "1M", "compat=1.1");
        Qemu("bitmap", "--add", image, "chk");
        var bytes = File.ReadAllBytes(image);
        var entry = bytes.AsSpan().LastIndexOf("chk"u8) - 24;
        bytes[entry + 17] = 99; // granularity_bits
        File.WriteAllBytes(image, bytes);

        var ours = Command.Json("info", "--json", image);

        Assert.Equal(1 << 20, ours.GetProperty("virtual-size").GetInt64());
        Assert.Empty(ours.GetProperty("bitmaps").EnumerateArray());
        Assert.Contains("granularity_bits 99", ours.GetProperty("bitmaps-error").GetString());
        Assert.Contains("cannot be read: bitmap directory entry 0", Command.Run("info", image).Output);
    }

    [Fact]
    public void Info_names_who_writes_the_image_and_map_is_refused_with_status_4()
    {
        var image = Image("disk.qcow2", "4M", "cluster_size=64k");
        var script = $"qemu-io -f qcow2 -c 'write 0 64k' -c 'sleep 3000' {image} >/dev/null & "
            + $"until grep -q \":$(stat -c %i {image}) \" /proc/locks; do sleep 0.1; done; "
            + $"'{Command.Path}' info {image}; '{Command.Path}' map {image}; echo $?; wait";
        (_, var output, var errors) = Command.Start("bash", "/nonexistent", "-c", script);
        Assert.Matches("in use by +qemu-io \\(process \\d+\\)", output);
        Assert.EndsWith("\n4\n", output, StringComparison.Ordinal);
        Assert.Matches($"^qcow2blk: cannot map {image}: image is in use by qemu-io \\(process \\d+\\): ", errors);
    }

    [Fact]
    public void Cycle_in_the_chain_is_named()
    {
        string a = Image("a.qcow2", "1M", "compat=1.1"), b = Path.Combine(_folder, "b.qcow2");
        Qemu("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", a, b);
        Qemu("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", b, a);
        foreach (var verb in (string[])["info", "map"])
        {
            (var status, _, var errors) = Command.Run(verb, a);
            Assert.Equal(1, status);
            Assert.Contains("has a cycle", errors, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Info_shows_an_image_whose_base_is_missing_and_fails()
    {
        string missing = Image("base.qcow2", "1M", "compat=1.1"), top = Path.Combine(_folder, "top.qcow2");
        Qemu("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", missing, top);
        File.Delete(missing);
        (var status, var output, var errors) = Command.Run("info", "--json", top);
        Assert.Equal(1, status);
        Assert.Contains($"cannot open {missing}: no such file or directory", errors, StringComparison.Ordinal);
        Assert.False(JsonDocument.Parse(output).RootElement.GetProperty("chain-complete").GetBoolean());
    }

    [Fact]
    public void Files_that_are_no_images_are_refused_by_what_they_are()
    {
        var text = Path.Combine(_folder, "text");
        File.WriteAllText(text, new string('x', 4096));
        Assert.Equal(1, Command.Run("info", text).Status);
        Assert.Contains("it is a directory", Command.Run("info", _folder).Errors, StringComparison.Ordinal);
        var pipe = Path.Combine(_folder, "pipe");
        Command.Start("mkfifo", "/", pipe);
        Assert.Contains("neither a regular file nor a block device", Command.Run("info", pipe).Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void Tables_past_the_end_of_the_file_are_named()
    {
        var image = Image("disk.qcow2", "4M", "cluster_size=64k");
        Write(image, ["write 0 64k"]);
        using (var file = File.OpenWrite(image))
            file.SetLength(4 * 65536);
        Assert.Contains("L2 table at 0x40000 ends past the file (size 262144, L1 index 0)", Command.Run("map", image).Errors,
            StringComparison.Ordinal);
        using (var file = File.OpenWrite(image))
            file.SetLength(3 * 65536);
        Assert.Contains("L1 table at 0x30000", Command.Run("map", image).Errors, StringComparison.Ordinal);
    }

    private static void AssertMapEqualsQemus(string image)
    {
        var qemu = Extents(JsonDocument.Parse(Qemu("map", "-f", "qcow2", "--output=json", image)).RootElement);
        Assert.Equal(qemu, Extents(Command.Json("map", "--json", image)));
    }

    private static string[] Extents(JsonElement map) =>
    [
        .. map.EnumerateArray().Select(extent => string.Join(' ',
            ((string[])["start", "length", "depth", "present", "zero", "data", "offset"])
            .Select(member => extent.TryGetProperty(member, out var value) ? $"{member}={value}" : $"no {member}"))),
    ];

    private static void AssertSnapshotsEqual(JsonElement qemu, JsonElement ours)
    {
        JsonElement[] expected = qemu.TryGetProperty("snapshots", out var list) ? [.. list.EnumerateArray()] : [];
        JsonElement[] actual = [.. ours.GetProperty("snapshots").EnumerateArray()];
        Assert.Equal(expected.Length, actual.Length);
        foreach ((var one, var other) in expected.Zip(actual))
        {
            foreach (var same in (string[])["id", "name", "date-sec", "date-nsec", "vm-state-size"])
                Assert.Equal(one.GetProperty(same).ToString(), other.GetProperty(same).ToString());
        }
    }

    private static void AssertBitmapsEqual(JsonElement data, JsonElement ours)
    {
        JsonElement[] expected = data.TryGetProperty("bitmaps", out var list) ? [.. list.EnumerateArray()] : [];
        JsonElement[] actual = [.. ours.GetProperty("bitmaps").EnumerateArray()];
        Assert.Equal(
            expected.Select(
                bitmap => (bitmap.GetProperty("name").GetString(), bitmap.GetProperty("granularity").GetInt64(), Flags(bitmap))),
            actual.Select(bitmap => (bitmap.GetProperty("name").GetString(), bitmap.GetProperty("granularity").GetInt64(), Flags(bitmap))));
    }

    private static string Flags(JsonElement bitmap) =>
        string.Join(',', bitmap.GetProperty("flags").EnumerateArray().Select(flag => flag.GetString()));

    private string Image(string name, string size, string options)
    {
        var path = Path.Combine(_folder, name);
        Qemu("create", "-q", "-f", "qcow2", "-o", options, path, size);
        return path;
    }

    private static void Write(string image, IEnumerable<string> commands)
    {
        (var status, var output, var errors) = Command.Start("qemu-io", "/",
            ["-f", "qcow2", "-d", "unmap", .. commands.SelectMany(command => (string[])["-c", command]), image]);
        Assert.True(status == 0 && !output.Contains("failed", StringComparison.Ordinal), output + errors);
    }

    private static string Qemu(params string[] arguments)
    {
        (var status, var output, var errors) = Command.Start("qemu-img", "/", arguments);
        Assert.True(status == 0, errors);
        return output;
    }
}
