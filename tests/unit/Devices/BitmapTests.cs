using System;
using System.Buffers;
using System.Buffers.Binary;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Persistent bitmaps follow what is written, and nobody loses one without having been told.</summary>
public sealed class BitmapTests : IDisposable
{
    private readonly EngineScene _scene = new();
    private readonly FakeExport _export = new();
    private EngineDevice? _device;

    public void Dispose()
    {
        _device?.Detach(force: true, EngineScene.Patience);
        _device?.Dispose();
        _scene.Dispose();
    }

    private string[] Warnings => [.. _scene.Log.Lines.Where(line => line.Contains("bitmap", StringComparison.Ordinal))];

    [Fact]
    public void What_records_follows_writes_and_qemu_reads_it_after_the_detach()
    {
        Add("chk0");
        Add("still", "--disable");
        Add("chk1", "-g", "4096");
        Open();
        Assert.Equal("chk0 recording auto, still disabled , chk1 recording auto", Listed());
        Assert.Equal(0, _scene.Write(1 << 20, 4096, 1));
        Assert.Equal("chk0 recording in-use,auto, still disabled , chk1 recording in-use,auto", Listed());
        Assert.Equal(0, _scene.Write((5 << 20) + 100, 10, 2));

        Detach();

        Assert.Empty(Warnings);
        Assert.Equal("chk0 auto; still ; chk1 auto", QemuLists());
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
        Assert.Equal([(1 << 20, 65536), (5 << 20, 65536)], QemuBitmap.Dirty(_scene.Image, "chk0"));
        Assert.Equal([(1 << 20, 4096), (5 << 20, 4096)], QemuBitmap.Dirty(_scene.Image, "chk1"));
        Assert.Empty(QemuBitmap.Dirty(_scene.Image, "still"));
    }

    [Fact]
    public void What_qemu_recorded_is_added_to()
    {
        Add("chk0");
        Qemu.Io(_scene.Image, "write 3M 64k", "discard 8M 1M", "write -z 10M 64k");
        Open();
        Assert.Equal(0, _scene.Write(0, 65536, 1));

        Detach();
        Assert.Equal([(0, 65536), (3 << 20, 65536), (8 << 20, 1 << 20), (10 << 20, 65536)], QemuBitmap.Dirty(_scene.Image, "chk0"));
        Qemu.Io(_scene.Image, "write 12M 64k");
        Assert.Contains((12L << 20, 65536L), QemuBitmap.Dirty(_scene.Image, "chk0"));
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
    }

    [Fact]
    public void Bitmap_is_valid_after_an_attach_that_wrote_nothing()
    {
        Add("chk0");
        var before = Hash();
        Open();
        Detach();

        Assert.Equal(before, Hash());
        Assert.Equal("chk0 auto", QemuLists());
    }

    [Fact]
    public void What_cannot_be_kept_is_warned_of_and_says_so_after_the_first_write()
    {
        Add("chk0");
        Add("chk1");
        Edit(directory => directory[EntryOf("chk0") + 16] = 2);
        Open();
        Assert.Equal(
            $"bitmap chk0 (its type is 2) of {_scene.Image} will become invalid with the first write (use --read-only to keep it)",
            Assert.Single(Warnings));
        Assert.Equal(0, _scene.Write(0, 65536, 1));

        // Without auto: so that nobody takes it for one of those that are kept.
        Assert.Equal("chk0 inconsistent in-use, chk1 recording in-use,auto", Listed());
    }

    [Fact]
    public void Read_only_attach_says_nothing_and_changes_no_byte()
    {
        Add("chk0");
        var before = Hash();
        Open(_scene.Options with { ReadOnly = true });
        Assert.True(_scene.Holds(0, 65536, 0));
        Assert.Equal("chk0 recording auto", Listed());

        Detach();

        Assert.Empty(Warnings);
        Assert.Equal(before, Hash());
        Assert.Equal("chk0 auto", QemuLists());
    }

    [Fact]
    public void Bitmaps_that_no_write_can_hurt_are_not_warned_of()
    {
        Add("still", "--disable");
        Add("broken");
        Edit(directory => directory[EntryOf("broken") + BitmapEntry.FlagsField + 3] |= (byte)BitmapFlags.InUse);

        Open();

        Assert.Empty(Warnings);
        Assert.Equal("still disabled , broken inconsistent in-use,auto", Listed());
    }

    [Fact]
    public void Bitmaps_of_a_backing_image_are_neither_touched_nor_warned_of()
    {
        Add("chk0");
        var before = Hash();
        var overlay = Path.Combine(Path.GetDirectoryName(_scene.Image)!, "overlay.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", _scene.Image, overlay);
        Open(_scene.Options with { Image = overlay });
        Assert.Equal(0, _scene.Write(0, 65536, 1));

        Detach();

        Assert.Empty(Warnings);
        Assert.Equal(before, Hash());
    }

    [Fact]
    public void What_was_made_while_suspended_records_after_the_resume()
    {
        Add("chk0");
        Open();
        Assert.Equal(0, _scene.Write(0, 65536, 1));
        Assert.Equal(Outcome.Done(), _device!.Suspend(EngineScene.Patience));
        Assert.Equal("", Listed());
        Assert.Equal([(0, 65536)], QemuBitmap.Dirty(_scene.Image, "chk0"));
        Add("chk1");
        Qemu.Io(_scene.Image, "write 4M 64k");
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));
        Assert.Equal(0, _scene.Write(8 << 20, 65536, 1));

        Detach();

        Assert.Equal([(0, 65536), (4 << 20, 65536), (8 << 20, 65536)], QemuBitmap.Dirty(_scene.Image, "chk0"));
        Assert.Equal([(4 << 20, 65536), (8 << 20, 65536)], QemuBitmap.Dirty(_scene.Image, "chk1"));
    }

    [Fact]
    public void Damaged_directory_is_a_warning_and_the_first_write_takes_the_word_for_it_back()
    {
        Add("chk0");
        Edit(directory => directory.AsSpan(18, 2).Clear()); // name_size 0
        Assert.NotEqual(0, QemuImg.Try("info", "-f", "qcow2", _scene.Image).ExitCode);
        Open();
        Assert.Equal(
            $"bitmaps of {_scene.Image} cannot be read and become invalid with the first write: bitmap directory entry 0:"
            + " name_size 0 is not in 1..1023 (use --read-only to keep them)", Assert.Single(Warnings));
        Assert.Contains("name_size 0", Status().GetProperty("bitmaps-error").GetString());

        Assert.Equal(0, _scene.Write(0, 65536, 1));

        Detach();
        Assert.Equal("", QemuLists());
        Qemu.Io(_scene.Image, "read -P 1 0 64k");
    }

    [Fact]
    public void Damaged_directory_of_an_image_that_is_only_read_is_a_warning_too()
    {
        Add("chk0");
        Edit(directory => directory.AsSpan(18, 2).Clear());
        var before = Hash();

        Open(_scene.Options with { ReadOnly = true });

        Assert.StartsWith($"bitmaps of {_scene.Image} cannot be read: bitmap directory entry 0", Assert.Single(Warnings));
        Detach();
        Assert.Equal(before, Hash());
    }

    [Fact]
    public void Many_bitmaps_with_long_reasons_make_one_line()
    {
        string[] unkept = [.. Enumerable.Range(0, ImageBitmaps.MaxNamed).Select(number => new string('x', 1023) + number)];
        var warning = BitmapWarning.Of("disk.qcow2", ImageBitmaps.None with { Unkept = unkept, UnkeptCount = 20_000 }, readOnly: false)!;
        Assert.Contains($" and {20_000 - ImageBitmaps.MaxNamed} more", warning);
        Assert.InRange(warning.Length, 100, 1000);
    }

    private void Add(string name, params string[] options) => Qemu.Img(["bitmap", "--add", .. options, _scene.Image, name]);

    private void Open(AttachOptions? options = null) => _device = _scene.Open(_export, options);

    private void Detach()
    {
        Assert.True(_device!.Detach(force: true, EngineScene.Patience).Succeeded);
        _device.Dispose();
        _device = null;
    }

    /// <summary>Changes the bitmap directory in the file.</summary>
    private void Edit(Action<byte[]> change)
    {
        var image = new ImageBytes(_scene.Image);
        var extension = image.Header.Bitmaps!;
        var start = (int)extension.DirectoryOffset.Value;
        var directory = image.Bytes.AsSpan(start, extension.DirectorySize).ToArray();
        change(directory);
        directory.CopyTo(image.Bytes, start);
        image.Save();
    }

    private int EntryOf(string name)
    {
        var image = new ImageBytes(_scene.Image);
        var extension = image.Header.Bitmaps!;
        ReadOnlySpan<byte> directory = image.Bytes.AsSpan((int)extension.DirectoryOffset.Value, extension.DirectorySize);
        return BitmapDirectory.Parse(directory, extension, image.Header)
            .Single(entry => entry.Name == name).EntryOffset;
    }

    private string Hash() => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(_scene.Image)));

    private JsonElement Status()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
            _device!.WriteStatus(writer);
        return JsonDocument.Parse(buffer.WrittenMemory).RootElement;
    }

    private string Listed() => !Status().TryGetProperty("bitmaps", out var bitmaps) ? ""
        : string.Join(", ", bitmaps.EnumerateArray()
            .Select(bitmap => $"{bitmap.GetProperty("name")} {bitmap.GetProperty("state")} {Flags(bitmap)}"));

    private string QemuLists()
    {
        var data = QemuImg.Info(_scene.Image).GetProperty("format-specific").GetProperty("data");
        return !data.TryGetProperty("bitmaps", out var bitmaps) ? ""
            : string.Join("; ", bitmaps.EnumerateArray().Select(bitmap => $"{bitmap.GetProperty("name")} {Flags(bitmap)}"));
    }

    private static string Flags(JsonElement bitmap) =>
        string.Join(',', bitmap.GetProperty("flags").EnumerateArray().Select(flag => flag.GetString()));
}
