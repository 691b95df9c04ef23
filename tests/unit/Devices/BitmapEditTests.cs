using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Bitmaps are made and changed on an attached image, and on one that is not, with the same result.</summary>
public sealed class BitmapEditTests : IDisposable
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

    [Fact]
    public void Every_action_on_an_attached_image_is_what_qemu_finds()
    {
        Open();
        Assert.Equal(0, _scene.Write(0, 65536, 1));
        Done("add", "a");
        Assert.Equal(0, _scene.Write(1 << 20, 65536, 2));
        Done("add", "b", ("granularity", "4K"));
        Done("add", "c", ("disabled", "true"));
        Assert.Equal(0, _scene.Write((2 << 20) + 4096, 4096, 3));
        Assert.Equal("a recording 131072, b recording 4096, c disabled 0", Listed());
        Done("disable", "a");
        Done("enable", "c");
        Assert.Equal(0, _scene.Write(3 << 20, 65536, 4));
        Assert.Equal("a disabled 131072, b recording 69632, c recording 65536", Listed());
        Done("merge", "c", ("from", "b"));
        Done("clear", "b");
        Assert.Equal(0, _scene.Write(4 << 20, 4096, 5));
        Assert.Equal("a disabled 131072, b recording 4096, c recording 196608", Listed());
        Assert.True(_scene.Holds(3 << 20, 65536, 4));

        Detach();

        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out var report));
        Assert.NotEmpty(report);
        Assert.Equal([(1 << 20, 65536), (2 << 20, 65536)], QemuBitmap.Dirty(_scene.Image, "a"));
        Assert.Equal([(4 << 20, 4096)], QemuBitmap.Dirty(_scene.Image, "b"));
        Assert.Equal([(2 << 20, 65536), (3 << 20, 65536), (4 << 20, 65536)], QemuBitmap.Dirty(_scene.Image, "c"));
    }

    [Fact]
    public void Every_action_on_an_image_that_is_not_attached_is_what_qemu_finds()
    {
        Offline("add", "a");
        Qemu.Io(_scene.Image, "write 1M 64k");
        Offline("add", "b", ("granularity", "512"));
        Qemu.Io(_scene.Image, "write 2M 512");
        Offline("disable", "a");
        Qemu.Io(_scene.Image, "write 3M 512");
        Offline("merge", "a", ("from", "b"));
        Offline("clear", "b");
        Offline("enable", "a");
        Qemu.Io(_scene.Image, "write 4M 512");
        Assert.Equal([(1 << 20, 65536), (2 << 20, 65536), (3 << 20, 65536), (4 << 20, 65536)], QemuBitmap.Dirty(_scene.Image, "a"));
        Assert.Equal([(4 << 20, 512)], QemuBitmap.Dirty(_scene.Image, "b"));
        Offline("remove", "a");
        Offline("remove", "b");
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
        Assert.False(QemuImg.Info(_scene.Image).GetProperty("format-specific").GetProperty("data").TryGetProperty("bitmaps", out _));
    }

    [Fact]
    public void Bitmaps_that_are_removed_leave_nothing_behind_on_an_attached_image()
    {
        Open();
        for (var round = 0; round < 3; round++)
        {
            Done("add", "a");
            Assert.Equal(0, _scene.Write(1 << 20, 65536, 2));
            Done("remove", "a");
            Assert.Equal(0, _scene.Write(2 << 20, 65536, 3));
        }

        Assert.Equal("", Listed());
        Detach();
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
    }

    [Theory]
    [InlineData("add", "a", "there is a bitmap \"a\" already")]
    [InlineData("remove", "z", "there is no bitmap \"z\"")]
    [InlineData("clear", "broken", "bitmap \"broken\" is inconsistent and cannot be used")]
    [InlineData("enable", "broken", "bitmap \"broken\" is inconsistent and cannot be used")]
    [InlineData("add", "", "a bitmap's name has 1 to 1023 bytes, this one 0")]
    public void What_qemu_refuses_is_refused_and_changes_nothing(string action, string name, string why)
    {
        Qemu.Img("bitmap", "--add", _scene.Image, "a");
        Qemu.Img("bitmap", "--add", _scene.Image, "broken");
        MarkInUse(_scene.Image, "broken");
        Open();
        var before = Listed();
        var outcome = Edit(action, name);
        Assert.Equal(why, outcome.Why);
        Assert.Equal(before, Listed());
        Detach();
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
    }

    [Theory]
    [InlineData("1000")]
    [InlineData("256")]
    [InlineData("4G")]
    [InlineData("0")]
    public void Granularity_that_cannot_be_is_refused(string granularity)
    {
        Open();
        Assert.Equal(OutcomeKind.Invalid, Edit("add", "a", ("granularity", granularity)).Kind);
        Assert.Equal("", Listed());
    }

    [Fact]
    public void Inconsistent_bitmap_is_removed()
    {
        Qemu.Img("bitmap", "--add", _scene.Image, "broken");
        MarkInUse(_scene.Image, "broken");
        Open();
        Done("remove", "broken");
        Detach();
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
    }

    [Fact]
    public void Version_2_has_no_bitmaps()
    {
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", "compat=0.10", _scene.Image, "16M");
        Open();
        Assert.StartsWith("images of version 2", Edit("add", "a").Why);
    }

    [Fact]
    public void Device_that_is_suspended_is_resumed_first()
    {
        Open();
        Assert.Equal(Outcome.Done(), _device!.Suspend(EngineScene.Patience));
        Assert.Equal("it is suspended", Edit("add", "a").Why);
        Assert.Equal(Outcome.Done(), _device!.Resume(allowShrink: false, EngineScene.Patience));
        Done("add", "a");
    }

    internal static void MarkInUse(string path, string name)
    {
        var image = new ImageBytes(path);
        var extension = image.Header.Bitmaps!;
        var start = (int)extension.DirectoryOffset.Value;
        var directory = new Qcow2Blk.Format.BitmapDirectoryBytes(
            image.Bytes.AsSpan(start, extension.DirectorySize), extension.NumberOfBitmaps, image.Header.ClusterSize, "");
        var index = directory.Find(name);
        directory.SetFlags(index, directory.Entries[index].Flags | Qcow2Blk.Format.BitmapFlags.InUse);
        directory.Bytes.CopyTo(image.Bytes, start);
        image.Save();
    }

    private void Open() => _device = _scene.Open(_export);

    private void Detach()
    {
        Assert.True(_device!.Detach(force: true, EngineScene.Patience).Succeeded);
        _device.Dispose();
        _device = null;
    }

    private void Done(string action, string name, params (string, string)[] more) =>
        Assert.Equal(Outcome.Done(), Edit(action, name, more));

    private Outcome Edit(string action, string name, params (string, string)[] more) => _device!
        .EditAsync(EditOf(action, name, more), EngineScene.Patience, CancellationToken.None).GetAwaiter().GetResult();

    private void Offline(string action, string name, params (string, string)[] more) =>
        Assert.Equal(
            Outcome.Done(), UnattachedImage.Edit(new AttachOptions { Image = _scene.Image }, EditOf(action, name, more), _scene.Log));

    private static ImageEdit EditOf(string action, string name, (string Name, string Value)[] more) => new(
        $"bitmap-{action}", more.Append((Name: "name", Value: name)).ToDictionary(argument => argument.Name, argument => argument.Value));

    private string Listed()
    {
        var list = new ImageEdit("bitmap-list", new Dictionary<string, string>());
        var outcome = _device!.EditAsync(list, EngineScene.Patience, CancellationToken.None).GetAwaiter().GetResult();
        using var json = JsonDocument.Parse(outcome.Json!);
        return string.Join(", ", json.RootElement.EnumerateArray().Select(bitmap =>
            $"{bitmap.GetProperty("name")} {bitmap.GetProperty("state")}"
            + (bitmap.TryGetProperty("dirty-bytes", out var dirty) ? $" {dirty}" : "")));
    }
}
