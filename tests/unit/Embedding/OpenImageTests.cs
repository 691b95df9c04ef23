using System;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Embedding;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Embedding;

/// <summary>An image that a program has open for itself, with a thread of ours.</summary>
public sealed class OpenImageTests
{
    private const int Cluster = EmbeddedScene.Cluster;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    [Fact]
    public void Bytes_of_qemu_are_read_and_qemu_reads_ours()
    {
        using var scene = new EmbeddedScene();
        scene.Open();
        Assert.Equal(3 * Cluster, scene.Read(Cluster, 3 * Cluster));
        Assert.Equal((2, 3, 4), (scene.Bytes(1)[0], scene.Bytes(1, Cluster)[0], scene.Bytes(1, 2 * Cluster)[0]));
        Assert.Equal(100, scene.Write((5 * Cluster) + 7, 100, 0xaa, at: 3));
        Assert.Equal(100, scene.Write((10 << 20) + 1, 100, 0xbb));
        Assert.Equal(0, scene.Close());
        QemuImg.Check(scene.Path);
        QemuImg.Io(scene.Path, $"read -P 0xaa {(5 * Cluster) + 7} 100", $"read -P 0xbb {(10 << 20) + 1} 100",
            $"read -P 6 {(5 * Cluster) + 107} 100", $"read -P 0 {(10 << 20) + 101} 1000");
    }

    /// <summary>No hop: while the loop does something else, cached and allocated ranges are read and written all the same.</summary>
    [Fact]
    public async Task What_is_mapped_a_thread_reads_and_writes_by_itself()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open();
        scene.Write(0, 4096, 0x11);
        using var busy = new ManualResetEventSlim();
        image.Loop.PostFromAnyThread(busy.Wait);
        try
        {
            var reading = Task.Run(() =>
            {
                Assert.Equal(4096, scene.Read(2 * Cluster, 4096));
                Assert.Equal(3, scene.Bytes(1)[0]);
                Assert.Equal(100, scene.Read((2 * Cluster) + 33, 100, at: 5));
                Assert.Equal(4096, scene.Write(3 * Cluster, 4096, 0x77));
                Assert.Equal(4096, scene.Read(4 << 20, 4096));
                Assert.Equal(0, scene.Bytes(1)[0]);
            }, TestContext.Current.CancellationToken);
            await reading.WaitAsync(s_patience, TestContext.Current.CancellationToken);
        }
        finally
        {
            busy.Set();
        }

        Assert.Equal(4096, scene.Read(3 * Cluster, 4096));
        Assert.Equal(0x77, scene.Bytes(1)[0]);
    }

    [Fact]
    public void Write_by_a_thread_itself_is_flushed_by_the_next_flush()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open();
        scene.Write(0, 4096, 1);
        Assert.Equal(0, image.Execute(new RequestShape(RequestKind.Flush, 0, 0, 0, RequestFlags.None)));
        scene.Write(0, 4096, 2);
        Assert.True(image.HasUnsyncedData);
        Assert.Equal(0, image.Execute(new RequestShape(RequestKind.Flush, 0, 0, 0, RequestFlags.None)));
        Assert.False(image.HasUnsyncedData);
    }

    [Fact]
    public void Several_buffers_are_one_range()
    {
        using var scene = new EmbeddedScene();
        scene.Open();
        MemoryPiece[] pieces = [new(scene.Memory + 10, 1), new(scene.Memory + 4096, Cluster), new(scene.Memory + 5, 0),
            new(scene.Memory + 200_000, 300)];
        var length = 1 + Cluster + 300;
        Assert.Equal(length, scene.Image.Execute(
            new RequestShape(RequestKind.Read, 0, Cluster - 1, length, RequestFlags.None), pieces));
        Assert.Equal((1, 2, 2, 3), (scene.Bytes(1, 10)[0], scene.Bytes(1, 4096)[0], scene.Bytes(1, 4095 + Cluster)[0],
            scene.Bytes(1, 200_000)[0]));
        scene.Bytes(4 << 20).Fill(0x5c);
        Assert.Equal(length, scene.Image.Execute(
            new RequestShape(RequestKind.Write, 0, (9 << 20) + 1, length, RequestFlags.ForceUnitAccess), pieces));
        scene.Bytes(4 << 20).Clear();
        Assert.Equal(length, scene.Read((9 << 20) + 1, length));
        Assert.Equal(length, scene.Bytes(length).Count((byte)0x5c));
    }

    [Theory]
    [InlineData(-1, 1)]
    [InlineData(16 << 20, 1)]
    [InlineData((16 << 20) - 1, 2)]
    [InlineData(long.MaxValue, 1)]
    [InlineData(0, -1)]
    public void Range_that_is_not_on_the_disk_is_refused(long offset, long length)
    {
        using var scene = new EmbeddedScene();
        scene.Open();
        foreach (var kind in Enum.GetValues<RequestKind>().Where(kind => kind != RequestKind.Flush))
        {
            Assert.Equal(-Errno.EINVAL,
                scene.Image.Execute(new RequestShape(kind, scene.Memory, offset, length, RequestFlags.None) with { Extents = 1 }));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(16 << 20)]
    public void Empty_range_is_done_at_once_also_at_the_end_of_the_disk(long offset)
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open();
        var queue = new CompletionQueue(16);
        foreach (var kind in Enum.GetValues<RequestKind>().Where(kind => kind is not RequestKind.BlockStatus))
        {
            var shape = new RequestShape(kind, scene.Memory, offset, 0, RequestFlags.None);
            Assert.Equal(0, image.Execute(shape));
            Assert.Equal(0, image.Submit(shape, [], new Notification(queue, 0, 1)));
            var ended = new Completion[1];
            Assert.Equal(1, queue.Wait(ended, -1));
            Assert.Equal(0, ended[0].Result);
        }
    }

    [Fact]
    public void Image_that_is_opened_for_reading_takes_no_change()
    {
        using var scene = new EmbeddedScene();
        scene.Open(readOnly: true);
        Assert.True(scene.Image.ReadOnly);
        foreach (var kind in (RequestKind[])[RequestKind.Write, RequestKind.Discard, RequestKind.WriteZeroes])
            Assert.Equal(-Errno.EROFS, scene.Image.Execute(new RequestShape(kind, scene.Memory, 0, 512, RequestFlags.None)));
        Assert.Equal(512, scene.Read(0, 512));
    }

    [Fact]
    public async Task Requests_that_have_not_begun_are_cancelled_by_a_close_and_all_are_told_before_it_returns()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open();
        using var busy = new ManualResetEventSlim();
        image.Loop.PostFromAnyThread(busy.Wait);
        var queue = new CompletionQueue(64);
        for (var i = 0; i < 10; i++)
        {
            // Not to be done by this thread: allocation.
            var shape = new RequestShape(RequestKind.Write, scene.Memory, (8 << 20) + (i * Cluster), 512, RequestFlags.None);
            Assert.Equal(0, image.Submit(shape, [], new Notification(queue, 0, i)));
        }

        Assert.Equal(10, image.InFlight);
        var closing = Task.Run(scene.Close, TestContext.Current.CancellationToken);
        SpinWait.SpinUntil(() => image.IsClosing, s_patience);
        busy.Set();
        Assert.Equal(0, await closing.WaitAsync(s_patience, TestContext.Current.CancellationToken));
        Assert.Equal(0, image.InFlight);
        var got = new Completion[64];
        Assert.Equal(10, queue.Wait(got, 0));
        Assert.All(got.Take(10), completion => Assert.Equal(-Errno.ECANCELED, completion.Result));
        QemuImg.Check(scene.Path);
    }

    [Fact]
    public void Image_that_is_closed_refuses_everything()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open();
        scene.Read(0, 512);
        scene.Close();
        Assert.Equal(-Errno.ESHUTDOWN, scene.Read(0, 512));
        Assert.Equal(-Errno.ESHUTDOWN,
            image.Submit(new RequestShape(RequestKind.Flush, 0, 0, 0, RequestFlags.None), [], new Notification(null, 1, 0)));
        Assert.Equal(-Errno.ESHUTDOWN, image.ListSnapshots(out _).Error);
    }

    [Fact]
    public void Files_of_the_chain_can_be_given_as_descriptors()
    {
        using var scene = new EmbeddedScene();
        var overlay = scene.Path + ".overlay";
        QemuImg.Run("create", "-q", "-f", "qcow2", "-b", scene.Path, "-F", "qcow2", overlay);
        using var top = File.Open(overlay, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        using var below = File.Open(scene.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var settings = new OpenSettings();
        Assert.Equal((0, 0), (settings.AddFile(Number(top)), settings.AddFile(Number(below))));
        var moved = scene.Path + ".moved";
        File.Move(scene.Path, moved);
        var image = OpenImage.Open(settings.OfImage(null, readOnly: false), settings.Files, isDriven: false, HostLog.Instance);
        settings.Close();
        Assert.Equal(512, image.Execute(new RequestShape(RequestKind.Read, scene.Memory, 4 * Cluster, 512, RequestFlags.None)));
        Assert.Equal(5, scene.Bytes(1)[0]);
        Assert.Equal(0, image.Close());
        File.Move(moved, scene.Path);
    }

    [Fact]
    public void Descriptors_have_to_be_as_many_as_the_chain_has_images_and_open_for_writing()
    {
        using var scene = new EmbeddedScene();
        using var file = File.Open(scene.Path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        using var reading = File.Open(scene.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        Assert.Contains("2 descriptors were given, and its chain has 1 images", Refusal(false, file, reading).Message);
        Assert.Contains("not open for reading and writing", Refusal(false, reading).Message);
        var overlay = scene.Path + ".overlay";
        QemuImg.Run("create", "-q", "-f", "qcow2", "-b", scene.Path, "-F", "qcow2", overlay);
        using var top = File.Open(overlay, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        Assert.Contains("none for backing file", Refusal(true, top).Message);
        Assert.Equal(-Errno.EBADF, new OpenSettings().AddFile(987));
    }

    [Fact]
    public void Options_of_devices_are_refused_by_name()
    {
        using var scene = new EmbeddedScene("16M", "", ("socket", "/tmp/x"));
        var refusal = Assert.Throws<OutcomeException>(() => scene.Settings.OfImage(scene.Path, readOnly: false));
        Assert.Equal(-Errno.EINVAL, Failure.Of(refusal, "x").Error);
        Assert.Contains("option \"socket\" is for devices", refusal.Message);
    }

    [Fact]
    public void Failures_have_their_errno()
    {
        using var scene = new EmbeddedScene();
        scene.Open();
        Assert.Equal(-Errno.EBUSY, ErrnoOf(scene.Path));
        Assert.Equal(-Errno.ENOENT, ErrnoOf(scene.Path + ".none"));
        File.WriteAllText(scene.Path + ".text", "this is not an image at all");
        Assert.Equal(-Errno.EUCLEAN, ErrnoOf(scene.Path + ".text"));
        QemuImg.Create(scene.Path + ".unknown", "1M");
        var image = File.ReadAllBytes(scene.Path + ".unknown");
        image[79] |= 0x20; // incompatible feature 5, which nobody knows
        File.WriteAllBytes(scene.Path + ".unknown", image);
        Assert.Equal(-Errno.EOPNOTSUPP, ErrnoOf(scene.Path + ".unknown"));
        Directory.CreateDirectory(scene.Path + ".folder");
        Assert.True(ErrnoOf(scene.Path + ".folder") < 0);
    }

    private static int ErrnoOf(string path) => Failure.Of(
        Assert.ThrowsAny<Exception>(() => OpenImage.Open(new OpenSettings().OfImage(path, false), [], false, HostLog.Instance)),
        $"cannot open {path}").Error;

    private static Exception Refusal(bool readOnly, params FileStream[] files)
    {
        var settings = new OpenSettings();
        foreach (var file in files)
            Assert.Equal(0, settings.AddFile(Number(file)));
        var refusal = Assert.ThrowsAny<Exception>(
            () => OpenImage.Open(settings.OfImage(null, readOnly), settings.Files, isDriven: false, HostLog.Instance));
        settings.Close();
        return refusal;
    }

    private static int Number(FileStream file) => (int)file.SafeFileHandle.DangerousGetHandle();
}
