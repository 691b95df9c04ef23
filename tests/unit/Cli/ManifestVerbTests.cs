using System;
using System.IO;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>The command <c>manifest</c>, beside sha256sum and Python's hashlib.</summary>
public sealed class ManifestVerbTests : IDisposable
{
    private const string Python = "/usr/bin/python3";

    /// <summary>The whole format in a few lines, by another hand.</summary>
    private const string Maker = """
        import hashlib, struct, sys
        data, size = open(sys.argv[1], "rb").read(), int(sys.argv[2])
        chunks = [data[at:at + size] for at in range(0, len(data), size)]
        out = struct.pack(">4sIIIQQ", b"QCM\xfb", 1, size, 1, len(data), len(chunks))
        sys.stdout.buffer.write(out + b"".join(hashlib.sha256(chunk).digest() for chunk in chunks))
        """;

    private readonly TempDirectory _directory = new();
    private readonly string _image;

    public ManifestVerbTests()
    {
        _image = _directory.File("disk.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", _image, "64M");
        Qemu.Io(_image, "write -P 1 0 3000k", "write -P 2 20M 1k");
    }

    private string Manifest => _image + ".qcm";

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("64K", 65536, 0)]
    [InlineData(null, 262144, 0)]
    [InlineData("1M", 1048576, 12345)]
    [InlineData("4M", 4194304, 1)]
    public void Manifest_is_what_another_program_makes_of_the_file(string? size, int bytes, int tail)
    {
        Assert.SkipUnless(File.Exists(Python), "no python3");
        using (var file = File.Open(_image, FileMode.Append))
            file.Write(new byte[tail]);

        var (status, output, errors) = Command.Run(size is null ? ["manifest", _image] : ["manifest", _image, "--chunk-size", size]);

        Assert.True(status == 0, errors);
        Qemu.Run("/bin/sh", "-c", $"{Python} -c '{Maker}' '{_image}' {bytes} >'{_image}.theirs'");
        Assert.Equal(File.ReadAllBytes(_image + ".theirs"), File.ReadAllBytes(Manifest));
        Assert.Equal(Qemu.Run("sha256sum", Manifest).Output.Split(' ')[0] + "\n", output);
    }

    [Fact]
    public void Json_tells_what_was_hashed()
    {
        var json = Command.Json("manifest", _image, "--json", "-o", _directory.File("other"));

        Assert.Equal(_image, json.GetProperty("filename").GetString());
        Assert.Equal(_directory.File("other"), json.GetProperty("manifest").GetString());
        Assert.Equal(new FileInfo(_image).Length, json.GetProperty("length").GetInt64());
        Assert.Equal(262144, json.GetProperty("chunk-size").GetInt64());
        Assert.Equal((new FileInfo(_image).Length + 262143) / 262144, json.GetProperty("chunks").GetInt64());
        Assert.Equal(Qemu.Run("sha256sum", _directory.File("other")).Output[..64], json.GetProperty("root").GetString());
        Assert.False(json.TryGetProperty("differing-chunks", out _));
    }

    [Fact]
    public void Check_finds_the_chunk_that_changed()
    {
        var root = Command.Run("manifest", _image, "--chunk-size", "64K").Output;
        Assert.Equal((0, root, ""), Command.Run("manifest", _image, "--check", Manifest));

        using (var file = File.OpenWrite(_image))
        {
            file.Position = (5 * 65536) + 3;
            file.WriteByte(0x77);
        }

        var (status, output, errors) = Command.Run("manifest", _image, "--check", Manifest);
        Assert.Equal((1, root), (status, output));
        Assert.Contains(": 1 of ", errors, StringComparison.Ordinal);
        Assert.Contains("offset 0x50000", errors, StringComparison.Ordinal);
    }

    [Fact]
    public void Check_refuses_a_file_of_another_length_and_one_that_is_not_a_manifest()
    {
        Command.Run("manifest", _image);
        File.AppendAllText(_image, "x");

        Assert.Contains("bytes, not ", Command.Run("manifest", _image, "--check", Manifest).Errors, StringComparison.Ordinal);
        Assert.Contains("it is not a manifest", Command.Run("manifest", _image, "--check", _image).Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void Image_that_is_written_is_refused()
    {
        using var writer = File.Open(_image, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        ImageLock.Acquire((int)writer.SafeFileHandle.DangerousGetHandle(), _image, write: true);

        var (status, _, errors) = Command.Run("manifest", _image);

        Assert.Equal(4, status);
        Assert.Contains("in use by", errors, StringComparison.Ordinal);
        Assert.False(File.Exists(Manifest));
    }

    [Fact]
    public void Manifest_is_replaced_and_nothing_else_is()
    {
        Command.Run("manifest", _image);
        Qemu.Io(_image, "write -P 3 40M 1k");
        var again = Command.Run("manifest", _image);
        var before = File.ReadAllBytes(_image);
        File.WriteAllText(_directory.File("notes"), "some text");

        Assert.Equal(0, again.Status);
        Assert.Equal(again.Output, Qemu.Run("sha256sum", Manifest).Output[..64] + "\n");
        Assert.Contains("it is the image itself", Command.Run("manifest", _image, "-o", _image).Errors, StringComparison.Ordinal);
        var other = Command.Run("manifest", _image, "-o", _directory.File("notes"));
        Assert.Contains("already exists and is not a manifest", other.Errors, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(_image));
        Assert.Equal("some text", File.ReadAllText(_directory.File("notes")));
    }

    [Theory]
    [InlineData("--chunk-size", "100K", "power of two")]
    [InlineData("--chunk-size", "32K", "power of two")]
    [InlineData("--chunk-size", "8M", "power of two")]
    [InlineData("--chunk-size", "many", "is not a size")]
    public void Chunk_size_that_cannot_be_is_refused(string option, string value, string expected)
    {
        var (status, _, errors) = Command.Run("manifest", _image, option, value);

        Assert.Equal(2, status);
        Assert.Contains(expected, errors, StringComparison.Ordinal);
        Assert.False(File.Exists(Manifest));
    }

    [Fact]
    public void Empty_file_has_no_manifest()
    {
        File.WriteAllBytes(_directory.File("empty"), []);

        Assert.Contains("it is empty", Command.Run("manifest", _directory.File("empty")).Errors, StringComparison.Ordinal);
        Assert.False(File.Exists(_directory.File("empty.qcm")));
    }
}
