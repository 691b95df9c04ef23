using System;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Which file is the external data file, and what is not taken for one.</summary>
public sealed class DataFileTests : IDisposable
{
    private readonly ChainScene _scene = new();
    private readonly string _image;

    public DataFileTests()
    {
        _image = _scene.File("image.qcow2");
        Directory.CreateDirectory(_scene.File("elsewhere"));
    }

    public void Dispose() => _scene.Dispose();

    private AttachOptions Options => ChainScene.Options(_image) with { ReadOnly = true };

    [Fact]
    public void Name_is_seen_from_the_directory_of_the_image()
    {
        Make(_scene.File("image.raw"), "image.raw");
        Assert.Equal(5, FirstByte(Options));
    }

    [Fact]
    public void File_of_the_option_is_taken_in_place_of_the_one_that_is_named()
    {
        Make(_scene.File("image.raw"), _scene.File("image.raw"));
        var other = new byte[1 << 20];
        other.AsSpan().Fill(6);
        File.WriteAllBytes(_scene.File("other.raw"), other);
        Assert.Equal(6, FirstByte(Options with { DataFile = _scene.File("other.raw") }));
    }

    [Fact]
    public void What_is_not_to_be_trusted_is_refused()
    {
        Make(_scene.File("elsewhere/image.raw"), _scene.File("elsewhere/image.raw"));
        Assert.Contains("--no-backing", Refusal(Options with { NoBacking = true }), StringComparison.Ordinal);
        Directory.CreateDirectory(_scene.File("ok"));
        Assert.Contains(
            "--backing-dir", Refusal(Options with { BackingDirectories = [_scene.File("ok")] }), StringComparison.Ordinal);
        Assert.Equal(5, FirstByte(Options with { BackingDirectories = [_scene.File("elsewhere")] }));
        Assert.Equal(5, FirstByte(Options with { NoBacking = true, DataFile = _scene.File("elsewhere/image.raw") }));
        Assert.Contains("image of the chain", Refusal(Options with { DataFile = _image }), StringComparison.Ordinal);
    }

    [Fact]
    public void Data_file_of_an_image_that_has_none_is_refused()
    {
        Qemu.Img("create", "-q", "-f", "qcow2", _image, "1M");
        Assert.Contains("no external data file", Refusal(Options with { DataFile = "/dev/null" }), StringComparison.Ordinal);
    }

    [Fact]
    public void Missing_data_file_is_named()
    {
        Make(_scene.File("image.raw"), _scene.File("image.raw"));
        File.Delete(_scene.File("image.raw"));
        Assert.Contains("image.raw does not exist", Refusal(Options), StringComparison.Ordinal);
    }

    private void Make(string data, string name)
    {
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", $"data_file={data}", _image, "1M");
        Qemu.Io(_image, "write -P 5 0 1M");
        if (name == data)
            return;

        // The name in the header becomes the short one, as "qemu-img create" in that directory writes it.
        var bytes = File.ReadAllBytes(_image);
        var at = bytes.AsSpan().IndexOf((byte[])[0x44, 0x41, 0x54, 0x41]);
        var length = (data.Length + 7) & ~7;
        bytes.AsSpan(at + 8, length).Clear();
        System.Text.Encoding.UTF8.GetBytes(name).CopyTo(bytes, at + 8);
        bytes[at + 7] = (byte)name.Length;
        bytes.AsSpan(at + 8 + length, bytes.Length - at - 8 - length)[..(65536 - at - 8 - length)].CopyTo(
            bytes.AsSpan(at + 8 + ((name.Length + 7) & ~7)));
        File.WriteAllBytes(_image, bytes);
    }

    private int FirstByte(AttachOptions options)
    {
        byte value = 0;
        _scene.Open(options, async disk =>
        {
            using var buffer = new TableBuffer(512);
            var error = await disk.ReadAsync(0, buffer.Take(512));
            value = buffer.Span[0];
            return error;
        });
        return value;
    }

    private string Refusal(AttachOptions options) => Assert.Throws<ImageFormatException>(() => FirstByte(options)).Message;
}
