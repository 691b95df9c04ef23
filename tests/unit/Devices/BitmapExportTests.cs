using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>NBD clients look at bitmaps as they do at those of qemu-nbd -B.</summary>
public sealed class BitmapExportTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly ListLog _log = new();
    private EngineDevice? _device;

    public void Dispose()
    {
        _device?.Detach(force: true, EngineScene.Patience);
        _device?.Dispose();
        _directory.Dispose();
    }

    private string Image => _directory.File("disk.qcow2");

    private string Socket => _directory.File("nbd.sock");

    private string Uri => $"nbd+unix:///disk?socket={Socket}";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_qemu_img_sees_is_what_it_sees_of_qemu_nbd(bool readOnly)
    {
        Make("64M");
        Qemu.Img("bitmap", "--add", "-g", "4096", Image, "fine");
        Qemu.Img("bitmap", "--add", Image, "coarse");
        Qemu.Io(Image, "write 0 4k", "write 12k 8k", "write 5M 1M", "discard 20M 3M", $"write {64 << 10}k 0");
        string[] names = ["fine", "coarse"];
        var expected = names.Select(name => QemuBitmap.Dirty(Image, name)).ToList();
        Open(["coarse", "fine"], readOnly);

        Assert.Equal(expected, names.Select(name => QemuBitmap.DirtyOf(Socket, "disk", name)));
        Assert.Equal(expected[0], QemuBitmap.DirtyOf(Socket, "", "fine"));
    }

    [Fact]
    public void Alternating_bits_come_in_several_replies()
    {
        Make("64M");
        Qemu.Img("bitmap", "--add", "-g", "512", Image, "fine");
        Open(["fine"]);
        var commands = Enumerable.Range(0, 9000).Select(index => $"write {index * 1024} 512").ToArray();
        foreach (var chunk in commands.Chunk(3000))
            Qemu.IoAs("raw", Uri, chunk);

        var dirty = QemuBitmap.DirtyOf(Socket, "disk", "fine");

        Assert.Equal(Enumerable.Range(0, 9000).Select(index => (index * 1024L, 512L)), dirty);
    }

    [Fact]
    public void Incremental_backup_restores_byte_for_byte()
    {
        Make("16M");
        Qemu.Io(Image, "write -P 1 0 16M");
        var full = _directory.File("full.raw");
        Qemu.Img("convert", "-O", "raw", Image, full);
        Qemu.Img("bitmap", "--add", "-g", "4096", Image, "since");
        Open(["since"]);
        Qemu.IoAs("raw", Uri, "write -P 2 100k 30k", "write -z 3M 1M", "discard 8M 128k", "write -P 3 15M 1M", "write -P 4 5000001 3");

        // What a backup program does: read what is dirty, and put it over the copy that it has.
        var restored = File.ReadAllBytes(full);
        var now = _directory.File("now.raw");
        Qemu.Img("convert", "-f", "raw", "-O", "raw", Uri, now);
        var bytes = File.ReadAllBytes(now);
        var dirty = QemuBitmap.DirtyOf(Socket, "disk", "since");
        foreach (var (start, length) in dirty)
            bytes.AsSpan((int)start, (int)length).CopyTo(restored.AsSpan((int)start));

        Assert.True(restored.AsSpan().SequenceEqual(bytes));
        Assert.InRange(dirty.Sum(extent => extent.Length), 1, 3 << 20);
    }

    [Fact]
    public void Contexts_are_listed_and_others_are_not_there()
    {
        Make("16M");
        Qemu.Img("bitmap", "--add", Image, "shown");
        Qemu.Img("bitmap", "--add", Image, "hidden");
        Open(["shown"]);

        var (exit, output, errors) = Qemu.Run("nbdinfo", "--json", "--list", Uri);
        Assert.True(exit == 0, errors);
        Assert.Contains("\"qemu:dirty-bitmap:shown\"", output);
        Assert.Contains("\"base:allocation\"", output);
        Assert.DoesNotContain("hidden", output);
        Assert.NotEqual(0, Qemu.Run("qemu-img", "map", "--image-opts",
            $"driver=nbd,server.type=unix,server.path={Socket},export=disk,x-dirty-bitmap=qemu:dirty-bitmap:hidden").Exit);
    }

    [Fact]
    public void Bitmap_that_is_exported_is_busy_and_goes_on_through_an_edit()
    {
        Make("16M");
        Qemu.Img("bitmap", "--add", Image, "a");
        Open(["a"]);
        Assert.Equal("bitmap \"a\" is exported", Edit("bitmap-remove", "a").Why);
        Qemu.IoAs("raw", Uri, "write 1M 64k");
        Assert.Equal(Outcome.Done(), Edit("bitmap-add", "b"));
        Qemu.IoAs("raw", Uri, "write 2M 64k");
        Assert.Equal([(1 << 20, 65536), (2 << 20, 65536)], QemuBitmap.DirtyOf(Socket, "disk", "a"));
    }

    [Theory]
    [InlineData("missing", "there is no bitmap \"missing\"")]
    [InlineData("broken", "bitmap \"broken\" is inconsistent and cannot be used")]
    public void Bitmap_of_no_use_is_refused_at_attach(string name, string why)
    {
        Make("16M");
        Qemu.Img("bitmap", "--add", Image, "broken");
        BitmapEditTests.MarkInUse(Image, "broken");
        var refusal = Assert.Throws<OutcomeException>(() => Open([name]));
        Assert.Contains(why, refusal.Why);
        Qemu.Io(Image, "write 0 64k"); // Nothing is left locked.
    }

    private void Make(string size) => Qemu.Img("create", "-q", "-f", "qcow2", Image, size);

    private void Open(string[] bitmaps, bool readOnly = false)
    {
        var options = new AttachOptions
        {
            Image = Image,
            SocketPath = Socket,
            Bitmaps = bitmaps,
            ReadOnly = readOnly,
            Cache = CacheMode.Writeback,
            Queues = 2,
        };
        _device = EngineDevice.Open(options, "disk", DeviceHost.This(null, (_, _) => 0), _log);
    }

    private Outcome Edit(string edit, string name) => _device!
        .EditAsync(new ImageEdit(edit, new Dictionary<string, string> { ["name"] = name }), EngineScene.Patience, default)
        .GetAwaiter().GetResult();
}
