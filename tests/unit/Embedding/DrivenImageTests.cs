using System;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Tmds.Linux;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Embedding;

/// <summary>An image in the loop of the program that opened it: no thread is ours, and nothing happens but inside its calls.</summary>
public sealed class DrivenImageTests
{
    private const int Cluster = EmbeddedScene.Cluster;

    [Fact]
    public void Everything_works_without_a_thread_of_ours()
    {
        using var scene = new EmbeddedScene();
        scene.Open(isDriven: true);
        Assert.Equal(512, scene.Read(Cluster, 512));
        Assert.Equal(2, scene.Bytes(1)[0]);
        Assert.Equal(512, scene.Write(8 << 20, 512, 0x42, flags: RequestFlags.ForceUnitAccess));
        Assert.Equal(0, scene.Close());
        QemuImg.Check(scene.Path);
        QemuImg.Io(scene.Path, "read -P 0x42 8M 512");
    }

    [Theory]
    [InlineData("deflate")]
    [InlineData("zstd")]
    public void Compressed_clusters_are_read_without_a_thread(string compression)
    {
        using var scene = new EmbeddedScene();
        var packed = scene.Path + ".packed";
        QemuImg.Run("convert", "-q", "-O", "qcow2", "-c", "-o", $"compression_type={(compression == "zstd" ? "zstd" : "zlib")}", scene.Path,
            packed);
        File.Move(packed, scene.Path, overwrite: true);
        scene.Open(isDriven: true);
        Assert.Equal(512, scene.Read(7 * Cluster, 512));
        Assert.Equal(8, scene.Bytes(1)[0]);
    }

    /// <summary>
    /// The descriptor tells of each completion, with the ring's deferred ones too: waiting for a timer would take 100 ms each.
    /// </summary>
    [Fact]
    public void Descriptor_is_readable_when_a_request_has_ended()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open(isDriven: true);
        var queue = new CompletionQueue(64);
        var ended = 0;
        var waits = 0;
        for (var i = 0; i < 40; i++)
        {
            var shape = new RequestShape(RequestKind.Read, scene.Memory + (i * 4096), i % 16 * Cluster, 4096, RequestFlags.None);
            Assert.Equal(0, image.Submit(shape, [], new Notification(queue, 0, i)));
        }

        while (ended < 40)
        {
            image.Process();
            var got = new Completion[64];
            var count = queue.Wait(got, 0);
            Assert.All(got.Take(count), completion => Assert.Equal(4096, completion.Result));
            ended += count;
            if (ended < 40)
                Assert.True(WaitReadable(image.WatchDescriptor, 10_000), $"{ended} of 40 after {waits++} waits");
        }

        Assert.Equal(0, image.InFlight);
    }

    [Fact]
    public void Nothing_is_told_inside_the_call_that_submits()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open(isDriven: true);
        var queue = new CompletionQueue(4);
        var shape = new RequestShape(RequestKind.Flush, 0, 0, 0, RequestFlags.None);
        Assert.Equal(0, image.Submit(shape, [], new Notification(queue, 0, 0)));
        Assert.Equal((0, 1), (queue.Wait(new Completion[1], 0), image.InFlight));
        while (image.InFlight > 0)
        {
            image.Process();
            WaitReadable(image.WatchDescriptor, 10);
        }

        Assert.Equal(1, queue.Wait(new Completion[1], 0));
    }

    [Fact]
    public void Other_threads_are_refused()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open(isDriven: true);
        var flush = new RequestShape(RequestKind.Flush, 0, 0, 0, RequestFlags.None);
        var (read, submitted) = (0L, 0L);
        Exception? ran = null;
        var other = new Thread(() =>
        {
            read = scene.Read(0, 512);
            submitted = image.Submit(flush, [], new Notification(null, 1, 0));
            ran = Record.Exception(() => image.Process());
        });
        other.Start();
        other.Join();
        Assert.Equal((-Errno.EPERM, -Errno.EPERM), (read, submitted));
        Assert.Contains("runs on the thread that made it", ran!.Message);
    }

    /// <summary>What one loop keeps for reuse must not be used on the other: its ring would never be entered.</summary>
    [Fact]
    public void Two_images_live_on_one_thread()
    {
        using var one = new EmbeddedScene();
        using var two = new EmbeddedScene();
        one.Open(isDriven: true);
        two.Open(isDriven: true);
        for (var round = 0; round < 20; round++)
        {
            Assert.Equal(512, one.Write((8 << 20) + (round * Cluster), 512, 1, flags: RequestFlags.ForceUnitAccess));
            Assert.Equal(512, two.Write((9 << 20) + (round * Cluster), 512, 2, flags: RequestFlags.ForceUnitAccess));
        }

        Assert.Equal((0, 0), (one.Close(), two.Close()));
        QemuImg.Check(one.Path);
        QemuImg.Check(two.Path);
    }

    [Fact]
    public void Idle_image_writes_down_what_it_knows_and_then_has_nothing_to_do()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open(isDriven: true);
        scene.Write(8 << 20, 512, 1);
        for (var round = 0; round < 50 && WaitReadable(image.WatchDescriptor, 500); round++)
            image.Process();
        Assert.False(WaitReadable(image.WatchDescriptor, 300), "an idle image wakes nobody");
    }

    private static unsafe bool WaitReadable(int fd, int milliseconds)
    {
        pollfd descriptor = new() { fd = fd, events = POLLIN };
        return Poll.Wait(&descriptor, 1, milliseconds) > 0;
    }
}
