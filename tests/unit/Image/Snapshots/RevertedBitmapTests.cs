using System;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>Of a disk that goes back to a snapshot, the bitmaps that record say that anything may have changed; the others stay.</summary>
public sealed class RevertedBitmapTests : IDisposable
{
    private readonly Qcow2Blk.Tests.Shared.TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("compat=1.1", false)]
    [InlineData("cluster_size=4k", false)]
    [InlineData("compat=1.1", true)]
    public void Bitmaps_that_record_are_wholly_dirty(string options, bool resized)
    {
        var file = _directory.File("image.qcow2");
        SnapshotScene.Make(options, after: path =>
        {
            Qemu.Img("snapshot", "-c", "s", path);
            if (resized)
                Qemu.Img("resize", "-q", path, "12M");
            Qemu.Img("bitmap", "--add", path, "on");
            Qemu.Img("bitmap", "--add", path, "off");
            Qemu.Io(path, "write -P 9 1M 64k");
            Qemu.Img("bitmap", "--disable", path, "off");
        }).Save(file);
        using (var one = new OneImage(SparseBytes.FromFile(file)))
        {
            one.Revert("s").MustSucceed();
            one.CloseClean(file);
        }

        Assert.Equal([(0, 8 << 20)], QemuBitmap.Dirty(file, "on"));
        Assert.Equal([(1 << 20, 65536)], QemuBitmap.Dirty(file, "off"));
        Assert.Equal(2, SnapshotScene.Read(file)[1 << 20]);
    }

    [Fact]
    public void Power_cut_leaves_no_disk_of_the_snapshot_with_bits_of_before()
    {
        using var one = new OneImage(SnapshotScene.Make("compat=1.1", after: path =>
        {
            Qemu.Img("snapshot", "-c", "s", path);
            Qemu.Img("bitmap", "--add", path, "on");
            Qemu.Io(path, "write -P 9 1M 64k");
        }));
        var start = one.Storage.Content.Copy();
        var before = new GuestReader(start).ReadAll();
        var log = one.Storage.Log = new StorageLog();
        one.Revert("s").MustSucceed();
        Assert.Equal(0, one.Loop.Run(one.Image.CloseAsync));

        var crash = new CrashImage(start, log);
        var random = new Random(1);
        var reverted = 0;
        for (long tick = 0; tick <= log.Tick; tick++)
        {
            crash.AdvanceTo(tick);
            crash.Cut(random);
            var found = crash.ToSparseBytes();
            crash.Restore();
            Assert.Empty(SnapshotScene.RealErrors(BytesChecker.Check(found)).Select(error => $"{tick}: {error.Message}"));
            var isBefore = new GuestReader(found).ReadAll().AsSpan().SequenceEqual(before);
            using var again = new OneImage(found);
            var bits = again.Image.FindBitmap("on");
            Assert.True(bits is not null, $"{tick}: the bitmap is not valid");
            Assert.True(bits.RunAt(1 << 20, 65536).IsDirty, $"{tick}: a bit is missing");
            Assert.True(isBefore || bits.DirtyBytes == 8 << 20, $"{tick}: {bits.DirtyBytes} bytes are dirty of a disk that is another");
            reverted += isBefore ? 0 : 1;
        }

        Assert.InRange(reverted, 1, log.Tick);
    }
}
