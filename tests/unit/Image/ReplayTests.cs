using System;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Tests.Image.Model;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// A server is killed between two of its disk operations; the next one, with the log, shows every answered request, in a
/// sound image. The request in progress may have happened or not.
/// </summary>
public sealed class ReplayTests : IDisposable
{
    private const int Operations = 60;

    private readonly TempDirectory _directory = new();

    public static TheoryData<string> Images() => [.. ModelImage.Matrix.Keys];

    public void Dispose() => _directory.Dispose();

    [Trait("Speed", "slow")]
    [Theory]
    [MemberData(nameof(Images))]
    public void Nothing_that_was_answered_is_lost_with_the_server(string name)
    {
        var subject = ModelImage.Get(name);
        for (var seed = 1; seed <= 15; seed++)
            Recover(subject, Kill(subject, seed), seed);
    }

    [Fact]
    public void A_log_of_another_image_is_refused_and_the_image_left_alone()
    {
        var subject = ModelImage.Get("clusters of 65536");
        var scene = Kill(subject, 1);
        var other = ModelImage.Get("clusters of 4096, refcounts of 8 bits");
        var content = other.Files[0].Bytes.Copy();
        var before = content.Copy();
        using var loop = new SimulatedLoop(1);
        var options = new ImageOptions { RecoveryLog = Save(scene.Log), Replay = true };
        Assert.Throws<RecoveryLogException>(
            () => loop.Run(async () => (await other.OpenAsync(loop, new MemoryStorage(loop, content), options)).ReadOnly ? 1 : 0));
        Assert.Equal(Bytes(before), Bytes(content));
    }

    [Theory]
    [InlineData(8, 0x55)] // start
    [InlineData(16, 0x7f)] // end
    [InlineData(24, 1)] // dropped
    [InlineData(0, 0)] // magic
    public void A_damaged_log_is_refused(int offset, byte value)
    {
        var subject = ModelImage.Get("clusters of 65536");
        var scene = Kill(subject, 1);
        scene.Log[offset + (offset == 0 || offset == 24 ? 0 : 6)] = value;
        using var loop = new SimulatedLoop(1);
        var options = new ImageOptions { RecoveryLog = Save(scene.Log), Replay = true };
        var content = scene.Content.Copy();
        Assert.Throws<RecoveryLogException>(
            () => loop.Run(async () => (await subject.OpenAsync(loop, new MemoryStorage(loop, content), options)).ReadOnly ? 1 : 0));
        Assert.Equal(Bytes(scene.Content), Bytes(content));
        Assert.Equal(scene.Log, File.ReadAllBytes(options.RecoveryLog));
    }

    [Fact]
    public void A_host_cluster_that_held_compressed_clusters_is_taken_over_when_it_was_used_again()
    {
        // Three compressed clusters in one host cluster: refcount 3 in the file.
        var content = OneImage.Make("cluster_size=65536", "8M", "write -c -P 1 0 64k", "write -c -P 2 64k 64k", "write -c -P 3 128k 64k");
        var path = _directory.File("compressed.log");
        using var run = new OneImage(content, options: new ImageOptions { RecoveryLog = path });
        Assert.Equal(0, run.Write(0, 3 * 65536, 4));
        Assert.Equal(0, run.Flush());
        Assert.Equal(0, run.Loop.Run(async () => { await run.Loop.DelayAsync(1000); return 0; })); // what was freed becomes free
        Assert.Equal(0, run.Write(1 << 20, 8 * 65536, 5)); // and is used again, uncommitted

        using var next = new OneImage(run.Storage.Content.Copy(),
            options: new ImageOptions { RecoveryLog = Save(File.ReadAllBytes(path)), Replay = true });
        Assert.Equal(0, next.Expect(0, 3 * 65536, 4));
        Assert.Equal(0, next.Expect(1 << 20, 8 * 65536, 5));
        next.Close();
    }

    [Fact]
    public void A_log_without_records_says_nothing_of_an_image_that_was_edited_since()
    {
        var path = _directory.File("clean.log");
        using (var run = new OneImage(OneImage.Make("cluster_size=65536", "8M"), options: new ImageOptions { RecoveryLog = path }))
        {
            Assert.Equal(0, run.Write(0, 65536, 1));
            Assert.True(RecoveryLog.HasRecords(path));
            run.Close();
        }

        Assert.False(RecoveryLog.HasRecords(path));
        using var resized = new OneImage(OneImage.Make("cluster_size=65536", "16M"),
            options: new ImageOptions { RecoveryLog = path, Replay = true });
        Assert.Equal(0, resized.Write(12 << 20, 65536, 2));
        resized.Close();
    }

    [Fact]
    public void An_image_that_got_a_snapshot_since_its_server_died_is_refused_and_left_alone()
    {
        var path = _directory.File("edited.log");
        var image = _directory.File("edited.qcow2");
        using (var run = new OneImage(OneImage.Make("cluster_size=65536", "8M"), options: new ImageOptions { RecoveryLog = path }))
        {
            Assert.Equal(0, run.Write(0, 65536, 1));
            Assert.Equal(0, run.Flush());
            Assert.Equal(0, run.Write(1 << 20, 65536, 2));
            File.WriteAllBytes(image, Bytes(run.Storage.Content.Copy()));
        }

        Qemu.Img("snapshot", "-c", "since", image);
        var content = SparseBytes.FromFile(image);
        var refused = Assert.Throws<RecoveryLogException>(
            () => new OneImage(content, options: new ImageOptions { RecoveryLog = Save(File.ReadAllBytes(path)), Replay = true }).Dispose(
                ));
        Assert.Contains("snapshot", refused.Message, StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes(image), Bytes(content));
    }

    [Fact]
    public void A_log_of_the_time_before_a_power_cut_is_none()
    {
        var path = _directory.File("boot.log");
        using (var run = new OneImage(OneImage.Make("cluster_size=65536", "8M"), options: new ImageOptions { RecoveryLog = path }))
            Assert.Equal(0, run.Write(0, 65536, 1));
        var log = File.ReadAllBytes(path);
        log[104] ^= 1; // the boot, after eleven words of the header, device and inode
        using var next = new OneImage(OneImage.Make("cluster_size=65536", "8M"),
            options: new ImageOptions { RecoveryLog = Save(log), Replay = true });
        Assert.Equal(0, next.Expect(0, 65536, 0));
        next.Close();
    }

    [Fact]
    public void A_log_that_was_just_being_made_is_none()
    {
        using var run =
            new OneImage(OneImage.Make("cluster_size=65536", "8M"), options: new ImageOptions { RecoveryLog = Save([]), Replay = true });
        Assert.Equal(0, run.Write(0, 65536, 1));
        run.Close();
    }

    /// <summary>Works on the image, and keeps what there is when some operation of the storage begins.</summary>
    private Scene Kill(ModelImage subject, int seed)
    {
        Work(subject, seed, int.MaxValue, out var operations);
        return Work(subject, seed, new Random(seed).Next(1, operations + 1), out _)!;
    }

    private Scene? Work(ModelImage subject, int seed, int left, out int operations)
    {
        var begun = 0;
        var random = new Random(seed);
        var content = subject.Files[0].Bytes.Copy();
        var path = _directory.File($"{Guid.NewGuid():n}.log");
        var model = (byte[])subject.Content.Clone();
        var inProgress = (Start: 0, Length: 0);
        Scene? scene = null;
        using var loop = new SimulatedLoop(seed);
        var storage = new MemoryStorage(loop, content);
        loop.Run(async () =>
        {
            var image = await subject.OpenAsync(loop, storage, new ImageOptions { RecoveryLog = path });
            storage.Fault = _ =>
            {
                begun++;
                if (--left == 0)
                    scene = new Scene(content.Copy(), File.ReadAllBytes(path), (byte[])model.Clone(), inProgress.Start, inProgress.Length);
                return 0;
            };
            using var buffer = new TableBuffer(256 * 1024);
            for (var i = 0; i < Operations && scene is null; i++)
            {
                var start = random.Next(model.Length / 512) * 512;
                var length = Math.Min(random.Next(1, random.Next(2) == 0 ? 16 : 400) * 512, model.Length - start);
                inProgress = (start, length);
                var error = 0;
                switch (random.Next(8))
                {
                    case 0:
                        inProgress = default;
                        error = await image.FlushAsync();
                        break;
                    case 1 or 2:
                        error = await image.WriteZeroesAsync(start, length, random.Next(2) == 0 ? ZeroFlags.None : ZeroFlags.MayUnmap);
                        model.AsSpan(start, length).Clear();
                        break;
                    default:
                        var payload = buffer.Take(length);
                        random.NextBytes(payload.Span);
                        error = await image.WriteAsync(start, payload, forceUnitAccess: false);
                        payload.Span.CopyTo(model.AsSpan(start));
                        break;
                }

                Assert.Equal(0, error);
            }

            return await image.CloseAsync();
        });
        operations = begun;
        return scene;
    }

    private void Recover(ModelImage subject, Scene scene, int seed)
    {
        using var loop = new SimulatedLoop(seed);
        var content = scene.Content.Copy();
        loop.Run(async () =>
        {
            var image = await subject.OpenAsync(loop, new MemoryStorage(loop, content),
                new ImageOptions { RecoveryLog = Save(scene.Log), Replay = true });
            using var buffer = new TableBuffer((scene.Model.Length + 4095) & ~4095);
            var whole = buffer.Take(scene.Model.Length);
            Assert.Equal(0, await image.ReadAsync(0, whole));
            for (var at = 0; at < scene.Model.Length; at++)
            {
                if (whole.Span[at] != scene.Model[at] && (at < scene.Start || at >= scene.Start + scene.Length))
                    Assert.Fail($"seed {seed}: byte {at} is {whole.Span[at]}, and {scene.Model[at]} was answered");
            }

            // It goes on working, and what it allocates now is nobody else's.
            var payload = whole.Slice(0, Math.Min(65536, whole.Length));
            payload.Span.Fill(0xa5);
            Assert.Equal(0, await image.WriteAsync(0, payload, forceUnitAccess: true));
            return await image.CloseAsync();
        });
        var check = BytesChecker.Check(content);
        Assert.True(check.Errors == 0, check.Errors == 0 ? "" : $"seed {seed}: {check.Findings[0].Message}");
    }

    private string Save(byte[] log)
    {
        var path = _directory.File($"{Guid.NewGuid():n}.log");
        File.WriteAllBytes(path, log);
        return path;
    }

    private static byte[] Bytes(SparseBytes content)
    {
        var bytes = new byte[content.Length];
        content.Read(0, bytes);
        return bytes;
    }

    private sealed record Scene(SparseBytes Content, byte[] Log, byte[] Model, int Start, int Length);
}
