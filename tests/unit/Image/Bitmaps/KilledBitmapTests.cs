using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Bitmaps;

/// <summary>
/// A server is killed at any write: the next one has every bit of what was answered, and none but of what was asked for. Where the
/// bits beside the log are not there, or not of this image, it has more and never fewer.
/// </summary>
public sealed class KilledBitmapTests : IDisposable
{
    private const int Granularity = 4096;
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("cluster_size=512,refcount_bits=64")]
    [InlineData("cluster_size=4096")]
    [InlineData("cluster_size=65536")]
    public void Killed_at_every_write_the_bits_are_exact(string shape)
    {
        foreach (var scene in Run(shape, keep: 3))
        {
            var bits = Recover(scene, withShadow: true);
            Assert.True(scene.Answered.IsSubsetOf(bits), $"{scene.Moment}: bits are missing");
            Assert.True(bits.IsSubsetOf(scene.Begun), $"{scene.Moment}: {bits.Except(scene.Begun).Count()} bits are of nothing");
        }
    }

    [Fact]
    public void Without_the_bits_beside_the_log_there_are_more_and_never_fewer()
    {
        var more = 0;
        foreach (var scene in Run("cluster_size=65536", keep: 7))
        {
            var bits = Recover(scene, withShadow: false);
            Assert.True(scene.Answered.IsSubsetOf(bits), $"{scene.Moment}: bits are missing");
            more += bits.Except(scene.Begun).Count();
        }

        Assert.NotEqual(0, more);
    }

    [Fact]
    public void A_repair_of_what_the_kill_has_leaked_leaves_the_bits_valid()
    {
        var repaired = 0L;
        foreach (var scene in Run("cluster_size=512", keep: 7, hasLog: false))
        {
            repaired += Repair(scene.Content);
            var bits = Recover(scene, withShadow: false);
            Assert.True(scene.Answered.IsSubsetOf(bits), $"{scene.Moment}: bits are missing");
        }

        Assert.NotEqual(0, repaired);
    }

    [Fact]
    public void Bits_of_an_image_that_another_program_has_written_are_not_believed()
    {
        var scene = Middle("cluster_size=65536");
        var path = _directory.File("foreign.qcow2");
        scene.Content.Save(path);
        Qemu.Io(path, "write 0 512");
        var found = Listed(scene with { Content = SparseBytes.FromFile(path), Log = [] });
        Assert.Equal("inconsistent", found);
    }

    [Fact]
    public void Bits_beside_the_log_of_another_start_are_not_believed()
    {
        var scene = Middle("cluster_size=65536");

        // As if a server had come and gone since, which had its log elsewhere.
        scene.Shadow[8] ^= 0xff;
        var bits = Recover(scene, withShadow: true);
        Assert.True(scene.Answered.IsSubsetOf(bits));
        Assert.False(bits.IsSubsetOf(scene.Begun));
    }

    /// <summary>A moment at which bits are in use.</summary>
    private Scene Middle(string shape)
    {
        var scenes = Run(shape, keep: 1);
        return scenes[scenes.Count / 2];
    }

    private List<Scene> Run(string shape, int keep, bool hasLog = true)
    {
        var image = _directory.File("image.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", shape, image, "16M");
        Qemu.Img("bitmap", "--add", "-g", $"{Granularity}", image, "b");
        var scenes = new List<Scene>();
        var log = _directory.File("live.log");
        using var loop = new SimulatedLoop(shape.Length);
        var storage = new MemoryStorage(loop, SparseBytes.FromFile(image));
        var (begun, answered, writes) = (new HashSet<long>(), new HashSet<long>(), 0);
        var options = new ImageOptions { RecoveryLog = hasLog ? log : null, BitmapRegionBytes = 256 << 10, Report = BrokenRule.Refuse };
        storage.Fault = operation =>
        {
            if (operation.Kind != StorageOperationKind.Read && ++writes % keep == 0 && (!hasLog || File.Exists(ShadowFile.PathOf(log))))
            {
                scenes.Add(new Scene($"write {writes}", storage.Content.Copy(), hasLog ? SavedLog.Read(log) : [],
                    hasLog ? File.ReadAllBytes(ShadowFile.PathOf(log)) : [], [.. begun], [.. answered]));
            }

            return 0;
        };
        loop.Run(async () =>
        {
            var opened = await Qcow2Image.OpenAsync(storage, options, null);
            var random = new Random(7);
            for (var request = 0; request < 60; request++)
            {
                var length = random.Next(1, 40) * 512;
                var offset = random.Next((int)(opened.Size - length) / 512) * 512L;
                begun.UnionWith(Bits(offset, length));
                Assert.Equal(0, await RequestAsync(opened, random.Next(5), offset, length));
                answered.UnionWith(Bits(offset, length));
            }

            return await opened.CloseAsync();
        });
        Assert.False(File.Exists(ShadowFile.PathOf(log)));
        Assert.True(scenes.Count > 5, $"{scenes.Count} scenes");
        return scenes;
    }

    private static async LoopTask<int> RequestAsync(Qcow2Image image, int kind, long offset, int length)
    {
        if (kind == 0)
            return await image.WriteZeroesAsync(offset, length, ZeroFlags.MayUnmap);
        if (kind == 1)
            return await image.DiscardAsync(offset, length);
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(length);
        buffer.Span.Fill((byte)(offset / 512));
        var error = kind == 2 ? await LoopTransfer.WriteAsync(image, offset, buffer) : await image.WriteAsync(offset, buffer, false);
        pool.Return(buffer);
        return error;
    }

    private static IEnumerable<long> Bits(long offset, int length)
    {
        for (var bit = offset / Granularity; bit <= (offset + length - 1) / Granularity; bit++)
            yield return bit;
    }

    /// <returns>what was wrong</returns>
    private static long Repair(SparseBytes content)
    {
        using var loop = new SimulatedLoop(1);
        CheckResult? result = null;
        loop.Run(async () =>
        {
            result = await ImageCheck.RunAsync(new MemoryStorage(loop, content), CheckMode.Leaks);
            return 0;
        });
        Assert.Null(result!.Stopped);
        return result.LeaksFixed;
    }

    private HashSet<long> Recover(Scene scene, bool withShadow)
    {
        var found = new HashSet<long>();
        OnNext(scene, withShadow, async image =>
        {
            var bits = image.FindBitmap("b");
            Assert.True(bits is not null, $"{scene.Moment}: the bitmap is not valid");
            for (long bit = 0; bit < bits!.Shape.Bits; bit++)
            {
                if (bits.IsSet(bit))
                    found.Add(bit);
            }

            return await image.CloseAsync();
        });
        return found;
    }

    private string Listed(Scene scene)
    {
        var state = "";
        OnNext(scene, withShadow: true, async image =>
        {
            state = image.Bitmaps.Listed[0].State;
            return await image.CloseAsync();
        });
        return state;
    }

    private void OnNext(Scene scene, bool withShadow, Func<Qcow2Image, LoopTask<int>> look)
    {
        var log = SavedLog.Save(_directory, scene.Log);
        if (withShadow)
            File.WriteAllBytes(ShadowFile.PathOf(log), scene.Shadow);
        var content = scene.Content.Copy();
        NextServer.Elsewhere(() =>
        {
            using var loop = new SimulatedLoop(1);
            var storage = new MemoryStorage(loop, content);
            loop.Run(async () =>
                await look(await Qcow2Image.OpenAsync(storage, new ImageOptions { RecoveryLog = log, Replay = true }, null)));
        });
        File.Delete(log);
        ShadowFile.Remove(log);
        var copy = _directory.File("after.qcow2");
        content.Save(copy);
        Assert.NotEqual(Verdict.Errors, Qemu.Check(copy, out _));
    }

    private sealed record Scene(
        string Moment, SparseBytes Content, byte[] Log, byte[] Shadow, HashSet<long> Begun, HashSet<long> Answered);
}
