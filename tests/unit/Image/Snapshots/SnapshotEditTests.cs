using System;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Tests.Shared;
using Xunit;
using QemuImg = Qcow2Blk.Tests.Support.QemuImg;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>Snapshots are what qemu makes of the same commands: sound, with the same contents, and usable by it.</summary>
public sealed class SnapshotEditTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("compat=1.1")]
    [InlineData("compat=0.10")]
    [InlineData("cluster_size=512")]
    [InlineData("cluster_size=2M")]
    [InlineData("refcount_bits=2")]
    [InlineData("refcount_bits=8")]
    [InlineData("refcount_bits=64")]
    [InlineData("extended_l2=on")]
    [InlineData("extended_l2=on,cluster_size=16k")]
    [InlineData("cluster_size=4k,refcount_bits=32,preallocation=metadata")]
    public void Snapshots_that_are_made_and_deleted_are_sound_and_hold_what_was_there(string options)
    {
        var file = _directory.File("image.qcow2");
        var bytes = SnapshotScene.Make(options);
        bytes.Save(file);
        var first = SnapshotScene.Read(file);
        using (var one = new OneImage(bytes))
        {
            one.Create("first").MustSucceed();
            Assert.Equal(0, one.Expect(0, 300 << 10, 1));
            Assert.Equal(0, one.Write(64 << 10, 200 << 10, 0x77));
            Assert.Equal(0, one.Write(4 << 20, 64 << 10, 0x78));
            Assert.Equal(0, one.Discard(5 << 20, 512 << 10));
            one.Create("second").MustSucceed();
            Assert.Equal(0, one.Write(6 << 20, 64 << 10, 0x79));
            one.CloseClean(file);
        }

        var active = SnapshotScene.Read(file);
        Assert.Equal(first, SnapshotScene.Read(file, "first"));
        Assert.Equal(0x77, SnapshotScene.Read(file, "second")[65536]);
        using (var one = new OneImage(Tests.Shared.Simulation.SparseBytes.FromFile(file)))
        {
            one.Delete("first").MustSucceed();
            Assert.Equal(0, one.Write(0, 4096, 0x7a));
            one.Delete("2").MustSucceed();

            // What was shared with nobody else any more is written in place again.
            var length = one.Storage.Length;
            Assert.Equal(0, one.Write(64 << 10, 128 << 10, 0x7b));
            Assert.Equal(0, one.Flush());
            Assert.Equal(length, one.Storage.Length);
            one.CloseClean(file);
        }

        active.AsSpan(0, 4096).Fill(0x7a);
        active.AsSpan(64 << 10, 128 << 10).Fill(0x7b);
        Assert.Equal(active, SnapshotScene.Read(file));
        Assert.DoesNotContain("Snapshot list", Qemu.Img("info", file), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("compat=1.1")]
    [InlineData("compat=0.10")]
    [InlineData("extended_l2=on")]
    [InlineData("cluster_size=512,refcount_bits=4")]
    public void Snapshots_of_qemu_and_ours_go_together(string options)
    {
        var file = _directory.File("image.qcow2");
        var bytes = SnapshotScene.Make(options, after: image =>
        {
            Qemu.Img("snapshot", "-c", "theirs", image);
            Qemu.Io(image, "write -P 9 128k 200k");
        });
        using (var one = new OneImage(bytes))
        {
            one.Create("ours").MustSucceed();
            Assert.Equal(0, one.Write(0, 100 << 10, 0x66));
            one.CloseClean(file);
        }

        var ours = SnapshotScene.Read(file, "ours");
        var theirs = SnapshotScene.Read(file, "theirs");
        Assert.Equal((1, 9, 1), (ours[0], ours[128 << 10], theirs[128 << 10]));
        Qemu.Img("snapshot", "-d", "theirs", file);
        Assert.True(Qemu.Check(file, out var report) == Verdict.Clean, report);
        Qemu.Img("snapshot", "-a", "ours", file);
        Assert.True(Qemu.Check(file, out report) == Verdict.Clean, report);
        Assert.Equal(ours, SnapshotScene.Read(file));
        Qemu.Img("snapshot", "-d", "ours", file);
        Assert.True(Qemu.Check(file, out report) == Verdict.Clean, report);
        Assert.Equal(ours, SnapshotScene.Read(file));
    }

    [Theory]
    [InlineData("compat=1.1")]
    [InlineData("compat=0.10")]
    [InlineData("extended_l2=on")]
    [InlineData("cluster_size=512")]
    public void A_disk_is_what_it_was_after_a_revert(string options)
    {
        var file = _directory.File("image.qcow2");
        var bytes = SnapshotScene.Make(options, after: image => Qemu.Img("snapshot", "-c", "then", image));
        bytes.Save(file);
        var then = SnapshotScene.Read(file);
        using (var one = new OneImage(bytes))
        {
            Assert.Equal(0, one.Write(0, 2 << 20, 0x55));
            Assert.Equal(0, one.Write(7 << 20, 64 << 10, 0x56));
            one.Revert("then").MustSucceed();
            one.CloseClean(file);
        }

        Assert.Equal(then, SnapshotScene.Read(file));
        Assert.Equal(then, SnapshotScene.Read(file, "then"));
        Qemu.Io(file, "write -P 3 0 1M");
        Assert.Equal(then, SnapshotScene.Read(file, "then"));
        Assert.True(Qemu.Check(file, out var report) == Verdict.Clean, report);
    }

    [Theory]
    [InlineData("12M")]
    [InlineData("5M")]
    public void A_revert_takes_the_size_of_the_snapshot(string size)
    {
        var file = _directory.File("image.qcow2");
        var bytes = SnapshotScene.Make("cluster_size=4k", after: image =>
        {
            Qemu.Img("snapshot", "-c", "then", image);
            Qemu.Img("resize", "--shrink", image, size);
        });
        using (var one = new OneImage(bytes))
        {
            one.Revert("then").MustSucceed();
            one.CloseClean(file);
        }

        Assert.Equal(8 << 20, SnapshotScene.Read(file).Length);
        Assert.Equal(3, SnapshotScene.Read(file)[^(3 << 20)]);
    }

    [Fact]
    public void A_refcount_that_cannot_grow_refuses_the_snapshot_and_changes_nothing()
    {
        var file = _directory.File("image.qcow2");
        using var one = new OneImage(SnapshotScene.Make("refcount_bits=2"));
        one.Create("a").MustSucceed();
        one.Create("b").MustSucceed();

        // The newest cluster has room for two more; an old one, which comes later, has none.
        Assert.Equal(0, one.Write(0, 64 << 10, 0x11));
        var answer = one.Create("c");
        Assert.Contains("and 2 bits hold no larger one", answer.Why, StringComparison.Ordinal);
        Assert.Equal(0, one.Write(0, 64 << 10, 0x12));
        one.CloseClean(file);
        Assert.Equal(2, QemuImg.Info(file).GetProperty("snapshots").GetArrayLength());
    }

    [Fact]
    public void A_snapshot_is_named_without_a_doubt()
    {
        using var one = new OneImage(SnapshotScene.Make("compat=1.1"));
        one.Create("same").MustSucceed();
        one.Create("same").MustSucceed();
        one.Create("1").MustSucceed();
        Assert.Equal(EditResult.Invalid, one.Delete("same").Result);
        Assert.Equal(EditResult.Invalid, one.Revert("1").Result);
        Assert.Equal(EditResult.NotFound, one.Delete("other").Result);
        one.Delete("3").MustSucceed();
        one.Delete("1").MustSucceed();
        one.Delete("same").MustSucceed();
        one.CloseClean(_directory.File("image.qcow2"));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    [InlineData(9)]
    public void What_fails_on_the_way_leaves_the_image_as_it_was(int failing)
    {
        var file = _directory.File("image.qcow2");
        using var one = new OneImage(SnapshotScene.Make("cluster_size=4k"), report: _ => { });
        one.Create("kept").MustSucceed();
        Assert.Equal(0, one.Write(0, 64 << 10, 0x21));
        Assert.Equal(0, one.Flush());
        var left = failing;
        one.Storage.Fault = operation =>
            operation.Kind == Shared.Simulation.StorageOperationKind.Write && --left == 0 ? 28 : 0;
        var answer = one.Create("lost");
        one.Storage.Fault = null;
        Assert.Equal(left > 0, answer.Succeeded);
        if (!answer.Succeeded)
            Assert.Contains("no space left", answer.Why, StringComparison.Ordinal);
        Assert.Equal(0, one.Expect(0, 64 << 10, 0x21));
        one.CloseClean(file);
        Assert.Equal(answer.Succeeded ? 2 : 1, QemuImg.Info(file).GetProperty("snapshots").GetArrayLength());
    }
}
