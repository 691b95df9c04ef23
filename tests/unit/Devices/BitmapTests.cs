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

/// <summary>Nobody loses a persistent bitmap without having been told, and who only reads loses none.</summary>
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
    public void Attach_for_writing_warns_of_what_records_and_status_shows_it_lost_after_the_first_write()
    {
        Add("chk0");
        Add("still", "--disable");
        Add("chk1");
        Open();

        Assert.Equal(
            $"bitmaps chk0, chk1 of {_scene.Image} will become invalid with the first write (use --read-only to keep them)",
            Assert.Single(Warnings));
        Assert.Equal("chk0 recording auto, still disabled , chk1 recording auto", Listed());
        Assert.Equal(0, _scene.Write(0, 65536, 1));
        Assert.Equal("chk0 inconsistent in-use,auto, still disabled , chk1 inconsistent in-use,auto", Listed());

        Detach();
        Assert.Equal("chk0 in-use,auto; still ; chk1 in-use,auto", QemuLists());
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
    }

    [Fact]
    public void Bitmap_is_valid_after_an_attach_that_wrote_nothing()
    {
        Add("chk0");
        Open();
        Assert.StartsWith("bitmap chk0 of", Assert.Single(Warnings));
        Assert.EndsWith("(use --read-only to keep it)", Warnings[0]);

        Detach();

        Assert.Equal("chk0 auto", QemuLists());
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
    public void Resume_warns_of_what_was_made_meanwhile_and_not_again_of_what_is_known()
    {
        Add("chk0");
        Open();
        Assert.Equal(Outcome.Done(), _device!.Suspend(EngineScene.Patience));
        Assert.Equal("", Listed());
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));
        Assert.Single(Warnings);

        Assert.Equal(Outcome.Done(), _device.Suspend(EngineScene.Patience));
        Add("chk1");
        Assert.Equal(Outcome.Done(), _device.Resume(allowShrink: false, EngineScene.Patience));

        Assert.Contains("chk0, chk1", Warnings[^1]);
        Assert.Equal(2, Warnings.Length);
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
    public void Many_bitmaps_with_long_names_make_one_line_and_a_status_that_fits()
    {
        var extension = new BitmapsExtension(20_000, 20_000 * 1048, new HostOffset(1 << 20));
        var bitmaps = ImageBitmaps.Of(Many(20_000), extension, new ImageBytes(_scene.Image).Header);

        Assert.Equal((20_000, 20_000, ImageBitmaps.MaxListed), (bitmaps.Count, bitmaps.Recording, bitmaps.Listed.Count));
        var warning = BitmapWarning.Of("disk.qcow2", bitmaps, readOnly: false)!;
        Assert.Contains($" and {20_000 - ImageBitmaps.MaxNamed} more", warning);
        Assert.InRange(warning.Length, 100, 1000);
    }

    /// <summary>A directory of recording bitmaps whose names have 1023 bytes.</summary>
    private static byte[] Many(int count)
    {
        var directory = new byte[count * 1048];
        for (var i = 0; i < count; i++)
        {
            var entry = directory.AsSpan(i * 1048, 1048);
            BinaryPrimitives.WriteUInt64BigEndian(entry, 1 << 16);
            BinaryPrimitives.WriteUInt32BigEndian(entry[8..], 1);
            BinaryPrimitives.WriteUInt32BigEndian(entry[BitmapEntry.FlagsField..], (uint)BitmapFlags.Auto);
            (entry[16], entry[17]) = (BitmapDirectory.DirtyTrackingType, 16);
            BinaryPrimitives.WriteUInt16BigEndian(entry[18..], 1023);
            entry.Slice(BitmapDirectory.MinEntryLength, 1023).Fill((byte)'x');
        }

        return directory;
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
