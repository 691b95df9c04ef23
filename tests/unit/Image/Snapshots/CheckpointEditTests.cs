using System;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Image;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>A checkpoint is what qemu finds as a snapshot and a bitmap, which has what changed since, up to the next one.</summary>
public sealed class CheckpointEditTests : IDisposable
{
    private readonly Qcow2Blk.Tests.Shared.TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("compat=1.1")]
    [InlineData("cluster_size=4k")]
    [InlineData("cluster_size=512")]
    [InlineData("extended_l2=on")]
    [InlineData("cluster_size=2M")]
    public void Bitmaps_have_what_changed_between_checkpoints(string options)
    {
        var file = _directory.File("image.qcow2");
        using var one = new OneImage(SnapshotScene.Make(options));
        one.CreateCheckpoint("a", 65536).MustSucceed();
        Assert.Equal(0, one.Write(1 << 20, 65536, 0x41));
        one.CreateCheckpoint("b").MustSucceed();
        Assert.Equal(0, one.Write(2 << 20, 65536, 0x42));
        one.CreateCheckpoint("c").MustSucceed();
        Assert.Equal(0, one.Write(3 << 20, 65536, 0x43));
        Assert.Equal("a disabled 65536, b disabled 65536, c recording 65536", Listed(one));
        one.CloseClean(file);

        Assert.Equal([(1 << 20, 65536)], QemuBitmap.Dirty(file, "a"));
        Assert.Equal([(2 << 20, 65536)], QemuBitmap.Dirty(file, "b"));
        Assert.Equal([(3 << 20, 65536)], QemuBitmap.Dirty(file, "c"));
        Assert.Equal(0x41, SnapshotScene.Read(file, "b")[1 << 20]);
        Assert.NotEqual(0x42, SnapshotScene.Read(file, "b")[2 << 20]);
        Assert.Equal(0x42, SnapshotScene.Read(file, "c")[2 << 20]);
        Assert.NotEqual(0x43, SnapshotScene.Read(file, "c")[3 << 20]);
    }

    [Fact]
    public void Bits_of_one_that_is_deleted_go_to_the_one_before()
    {
        var file = _directory.File("image.qcow2");
        using var one = Three();
        one.DeleteCheckpoint("b").MustSucceed();
        Assert.Equal("a disabled 131072, c recording 65536", Listed(one));
        one.DeleteCheckpoint("c").MustSucceed();
        Assert.Equal("a recording 196608", Listed(one));
        Assert.Equal(0, one.Write(4 << 20, 65536, 0x44));
        Assert.Equal("a recording 262144", Listed(one));
        one.CloseClean(file);
        Assert.Equal([(1 << 20, 65536), (2 << 20, 65536), (3 << 20, 65536), (4 << 20, 65536)], QemuBitmap.Dirty(file, "a"));

        using var again = new OneImage(SparseBytes.FromFile(file));
        again.DeleteCheckpoint("a").MustSucceed();
        Assert.Equal("", Listed(again));
        again.CloseClean(file);
        Assert.False(QemuImg.Info(file).GetProperty("format-specific").GetProperty("data").TryGetProperty("bitmaps", out _));
    }

    [Fact]
    public void Oldest_one_goes_alone()
    {
        using var one = Three();
        one.DeleteCheckpoint("a").MustSucceed();
        Assert.Equal("b disabled 65536, c recording 65536", Listed(one));
        one.CloseClean(_directory.File("image.qcow2"));
    }

    [Fact]
    public void Bitmaps_and_snapshots_of_others_are_left_alone()
    {
        var file = _directory.File("image.qcow2");
        using (var one = new OneImage(SnapshotScene.Make("compat=1.1")))
        {
            one.Create("mine").MustSucceed();
            one.Loop.RunUntilComplete(one.Image.EditAsync(() => one.Image.BitmapEditor.AddAsync("own", null, records: true)))
                .MustSucceed();
            one.CreateCheckpoint("a").MustSucceed();
            one.CreateCheckpoint("b").MustSucceed();
            Assert.Equal(0, one.Write(1 << 20, 65536, 0x41));
            one.DeleteCheckpoint("b").MustSucceed();
            one.DeleteCheckpoint("a").MustSucceed();
            Assert.Equal("there is no checkpoint \"own\"", one.DeleteCheckpoint("own").Note);
            Assert.Equal("there is no checkpoint \"mine\"", one.DeleteCheckpoint("mine").Note);
            one.CloseClean(file);
        }

        Assert.Equal([(1 << 20, 65536)], QemuBitmap.Dirty(file, "own"));
        Assert.Contains("mine", Qemu.Img("snapshot", "-l", file), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a", null, "already")]
    [InlineData("own", null, "already")]
    [InlineData("17", null, "ID")]
    [InlineData("", null, "1 to 1023 bytes")]
    [InlineData("b", 3L, "power of two")]
    public void Bad_one_is_refused_and_nothing_is_changed(string name, long? granularity, string why)
    {
        using var one = new OneImage(SnapshotScene.Make("compat=1.1"));
        one.Loop.RunUntilComplete(one.Image.EditAsync(() => one.Image.BitmapEditor.AddAsync("own", null, records: true))).MustSucceed();
        one.CreateCheckpoint("a").MustSucceed();
        var before = Listed(one);
        Assert.Contains(why, one.CreateCheckpoint(name, granularity).Why);
        Assert.Equal(before, Listed(one));
        one.CloseClean(_directory.File("image.qcow2"));
    }

    [Fact]
    public void Image_of_version_2_is_refused()
    {
        using var one = new OneImage(SnapshotScene.Make("compat=0.10"));
        Assert.Contains("version 2", one.CreateCheckpoint("a").Why);
        one.CloseClean(_directory.File("image.qcow2"));
    }

    private static OneImage Three()
    {
        var one = new OneImage(SnapshotScene.Make("compat=1.1"));
        one.CreateCheckpoint("a").MustSucceed();
        Assert.Equal(0, one.Write(1 << 20, 65536, 0x41));
        one.CreateCheckpoint("b").MustSucceed();
        Assert.Equal(0, one.Write(2 << 20, 65536, 0x42));
        one.CreateCheckpoint("c").MustSucceed();
        Assert.Equal(0, one.Write(3 << 20, 65536, 0x43));
        return one;
    }

    private static string Listed(OneImage one)
    {
        var json = one.Loop.RunUntilComplete(one.Image.ListCheckpointsAsJsonAsync()).Json!;
        return string.Join(", ", JsonDocument.Parse(json).RootElement.EnumerateArray().Select(checkpoint =>
            $"{checkpoint.GetProperty("name")} {checkpoint.GetProperty("bitmap")} {checkpoint.GetProperty("dirty-bytes")}"));
    }
}
