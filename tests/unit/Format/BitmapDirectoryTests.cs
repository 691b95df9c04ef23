using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

public sealed class BitmapDirectoryTests
{
    [Theory]
    [InlineData("")]
    [InlineData("cluster_size=512")]
    public void Bitmaps_are_those_that_qemu_lists(string options)
    {
        using var directory = new TempDirectory();
        var image = WithBitmaps(directory, options);

        var ours = Parse(image);

        JsonElement[] theirs =
            [.. QemuImg.Info(image.Path).GetProperty("format-specific").GetProperty("data").GetProperty("bitmaps").EnumerateArray()];
        Assert.Equal(3, ours.Count);
        Assert.Equal(AutoclearFeatures.Bitmaps, image.Header.Autoclear);
        Assert.Equal(theirs.Select(Listed).Order(), ours.Select(Parsed).Order());
        Assert.All(ours, b => Assert.Equal(BitmapDirectory.DirtyTrackingType, b.Type));
        image.Header.CheckAgainstFile(image.Bytes.LongLength);

        static string Listed(JsonElement b) => $"{b.GetProperty("name")} {b.GetProperty("granularity")} "
            + string.Join(',', b.GetProperty("flags").EnumerateArray().Select(f => f.GetString()));

        static string Parsed(BitmapEntry b) => $"{b.Name} {1L << b.GranularityBits} "
            + (b.Flags == BitmapFlags.Auto ? "auto" : b.Flags == BitmapFlags.None ? "" : b.Flags.ToString());
    }

    [Fact]
    public void In_use_set_in_place_is_what_qemu_then_sees()
    {
        using var directory = new TempDirectory();
        var image = WithBitmaps(directory, "");
        var entry = Parse(image).Single(b => b.Name == "one");

        var flags = (int)image.Header.Bitmaps!.DirectoryOffset.Value + entry.EntryOffset + BitmapEntry.FlagsField;
        image.Put32(flags, image.U32(flags) | (uint)BitmapFlags.InUse);
        image.Save();

        JsonElement[] theirs =
            [.. QemuImg.Info(image.Path).GetProperty("format-specific").GetProperty("data").GetProperty("bitmaps").EnumerateArray()];
        Assert.Equal("one", Assert.Single(theirs, b => b.GetProperty("flags").EnumerateArray().Any(f => f.GetString() == "in-use"))
            .GetProperty("name").GetString());
    }

    [Fact]
    public void Bitmaps_without_the_autoclear_bit_are_not_trusted()
    {
        using var directory = new TempDirectory();
        var image = WithBitmaps(directory, "");
        image.Put64(HeaderField.AutoclearFeatures, 0);

        Assert.Null(image.Header.Bitmaps);
        Assert.Contains(image.Header.Extensions, e => e.Type == HeaderExtension.Bitmaps);
    }

    [Fact]
    public void Bitmap_table_is_where_the_entry_says()
    {
        using var directory = new TempDirectory();
        var image = WithBitmaps(directory, "");

        foreach (var entry in Parse(image))
        {
            var bits = (image.Header.Size + (1L << entry.GranularityBits) - 1) >> entry.GranularityBits;
            var clusters = (bits / 8 + image.Header.ClusterSize) / image.Header.ClusterSize;
            Assert.Equal(clusters, entry.TableSize);
            Assert.True(entry.TableOffset.Value < image.Bytes.LongLength);
        }
    }

    [Theory]
    [InlineData(BitmapEntry.FlagsField, 8u, "flags 0x8")]
    [InlineData(8, 0u, "bitmap_table_size 0")]
    [InlineData(8, 0x8000001u, "bitmap_table_size 134217729")]
    [InlineData(4, 0x10200u, "bitmap_table_offset 0x10200")]
    [InlineData(0, 0x0100_0000u, "bitmap_table_offset 0x1000000")]
    [InlineData(16, 0x01080003u, "granularity_bits 8")]
    [InlineData(16, 0x01200003u, "granularity_bits 32")]
    [InlineData(16, 0x01100000u, "name_size 0")]
    [InlineData(16, 0x0110ffffu, "ends past the directory")]
    [InlineData(20, uint.MaxValue, "ends past the directory")]
    public void Broken_entry_is_refused_by_qemu_and_by_us_with_its_field(int field, uint value, string says)
    {
        using var directory = new TempDirectory();
        var image = WithBitmaps(directory, "");
        image.Put32((int)image.Header.Bitmaps!.DirectoryOffset.Value + field, value);
        image.Save();

        var qemu = QemuImg.Try("check", "-f", "qcow2", image.Path);
        var error = Assert.Throws<ImageFormatException>(() => Parse(image));

        Assert.NotEqual(0, qemu.ExitCode);
        Assert.Equal("bitmap_directory", error.Field);
        Assert.Contains("entry 0", error.Message);
        Assert.Contains(says, error.Message);
    }

    [Theory]
    [InlineData(2, "more than nb_bitmaps 2")]
    [InlineData(4, "only 3 bitmaps")]
    public void Count_that_does_not_match_is_refused(int count, string says)
    {
        using var directory = new TempDirectory();
        var image = WithBitmaps(directory, "");
        var bytes = Directory(image);

        var error = Assert.Throws<ImageFormatException>(() => BitmapDirectory.Parse(bytes, count, 65536, "x"));

        Assert.Contains(says, error.Message);
    }

    [Fact]
    public void Name_that_is_not_utf8_is_shown_by_its_bytes()
    {
        using var directory = new TempDirectory();
        var bytes = Directory(WithBitmaps(directory, ""));
        var name = bytes.AsSpan().IndexOf("one"u8);
        bytes[name] = 0xe9;

        Assert.Contains(BitmapDirectory.Parse(bytes, 3, 65536, "x"), bitmap => bitmap.Name == "\\xe9ne");
    }

    [Fact]
    public void Every_cut_of_the_directory_is_refused()
    {
        using var directory = new TempDirectory();
        var bytes = Directory(WithBitmaps(directory, ""));

        // The last entry's padding may be missing, nothing else.
        for (var length = 0; length < bytes.Length - 7; length++)
            Assert.Throws<ImageFormatException>(() => BitmapDirectory.Parse(bytes.AsSpan(0, length), 3, 65536, "x"));
    }

    private static ImageBytes WithBitmaps(TempDirectory directory, string options)
    {
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "3M", options);
        QemuImg.Run("bitmap", "--add", path, "one");
        QemuImg.Run("bitmap", "--add", "-g", "512", path, "zwei ü");
        QemuImg.Run("bitmap", "--add", "--disable", "-g", "2M", path, "three");
        QemuImg.Check(path);
        return new ImageBytes(path);
    }

    private static byte[] Directory(ImageBytes image)
    {
        var extension = image.Header.Bitmaps!;
        return image.Bytes.AsSpan((int)extension.DirectoryOffset.Value, extension.DirectorySize).ToArray();
    }

    private static IReadOnlyList<BitmapEntry> Parse(ImageBytes image) =>
        BitmapDirectory.Parse(Directory(image), image.Header.Bitmaps!, image.Header);
}
