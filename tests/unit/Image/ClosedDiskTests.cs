using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Exports;
using Qcow2Blk.Tests.Shared.Simulation;
using Qcow2Blk.Tests.Support;
using Qcow2Blk.Uring;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// A disk that is closed, or being closed, answers -ESHUTDOWN or "not mapped", whoever asks: its memory is not looked at any
/// more. What began before is waited for.
/// </summary>
public sealed class ClosedDiskTests
{
    private const int Bytes = 1 << 20;
    private const int Shutdown = -Errno.ESHUTDOWN;

    public static TheoryData<string, string> Members()
    {
        var data = new TheoryData<string, string>();
        foreach (var kind in (string[])["qcow2", "read-only qcow2", "overlay", "raw"])
        {
            foreach (var member in s_members.Keys)
                data.Add(kind, member);
        }

        return data;
    }

    private static readonly Dictionary<string, Func<IDisk, NativeBuffer, LoopTask<int>>> s_members = new()
    {
        ["read"] = (disk, buffer) => disk.ReadAsync(0, buffer),
        ["write"] = (disk, buffer) => disk.WriteAsync(0, buffer, forceUnitAccess: false),
        ["write through"] = (disk, buffer) => disk.WriteAsync(0, buffer, forceUnitAccess: true),
        ["write of a part of a sector"] = (disk, buffer) => disk.WriteAsync(1, buffer.Slice(1), forceUnitAccess: false),
        ["zero"] = (disk, _) => disk.WriteZeroesAsync(0, 65536, ZeroFlags.MayUnmap),
        ["zero fast"] = (disk, _) => disk.WriteZeroesAsync(100, 65536, ZeroFlags.Fast),
        ["discard"] = (disk, _) => disk.DiscardAsync(0, 65536),
        ["flush"] = (disk, _) => disk.FlushAsync(),
        ["map"] = async (disk, _) => (await disk.MapAsync(0, Bytes)).Error,
        ["prefetch"] = (disk, _) => disk.PrefetchAsync(0, Bytes),
        ["close"] = (disk, _) => disk.CloseAsync(),
    };

    [Theory]
    [MemberData(nameof(Members))]
    public void Member_of_a_closed_disk_says_so(string kind, string member)
    {
        using var loop = new SimulatedLoop(1);
        var disk = Open(loop, kind, out var storage);
        using var buffer = new TableBuffer(4096);
        Assert.Equal(0, loop.RunUntilComplete(disk.ReadAsync(0, buffer.Take(4096))));

        // The storage refuses operations once it is closed.
        Assert.Equal(0, loop.Run(disk.CloseAsync));
        var started = storage.Started;

        Assert.Equal(Shutdown, loop.RunUntilComplete(s_members[member](disk, buffer.Take(4096))));
        Assert.Equal(started, storage.Started);
    }

    [Theory]
    [MemberData(nameof(Members))]
    public void Member_of_a_disk_that_is_being_closed_says_so(string kind, string member)
    {
        for (var seed = 1; seed <= 20; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var disk = Open(loop, kind, out _);
            using var buffer = new TableBuffer(4096);
            var closing = disk.CloseAsync();
            for (var step = 0; step < seed && !closing.IsCompleted; step++)
                loop.Step();

            Assert.Equal(Shutdown, loop.RunUntilComplete(s_members[member](disk, buffer.Take(4096))));
            Assert.Equal(0, loop.RunUntilComplete(closing));
        }
    }

    [Theory]
    [InlineData("qcow2")]
    [InlineData("read-only qcow2")]
    [InlineData("overlay")]
    [InlineData("raw")]
    public void Closed_disk_maps_nothing_and_its_counters_can_be_read(string kind)
    {
        using var loop = new SimulatedLoop(1);
        var disk = Open(loop, kind, out _);
        using var buffer = new TableBuffer(4096);
        Assert.Equal(0, loop.RunUntilComplete(disk.ReadAsync(0, buffer.Take(4096))));
        Assert.True(disk.TryMapRead(0, 4096, out _));
        Assert.True(kind == "raw" || disk.TryMapZeroes(Bytes - 65536, 4096));
        if (!disk.ReadOnly)
        {
            Assert.Equal(0, loop.RunUntilComplete(disk.WriteAsync(0, buffer.Take(4096), forceUnitAccess: false)));
            var parity = disk.Epochs.Enter(0);
            Assert.True(disk.TryMapWrite(0, 4096, out _));
            disk.Epochs.Exit(0, parity);
        }

        Assert.Equal(0, loop.Run(disk.CloseAsync));

        Assert.False(disk.TryMapRead(0, 4096, out _) || disk.TryMapWrite(0, 4096, out _));
        Assert.False(disk.TryMapZeroes(Bytes - 65536, 4096) || disk.TryMapZeroes(0, 4096));
        disk.NoteDirectWrite();
        Assert.Equal((Bytes, null, 0L), (disk.Size, disk.WriteErrorReason, disk.Epochs.InProgress));
        if (disk is Qcow2Image image)
        {
            image.WriteBehindWhenIdle();
            Assert.True(image.L2CacheMisses > 0 && image.L2CacheBytes > 0 && image.Commits >= 0 && image.L2CacheHits >= 0);
        }
    }

    [Theory]
    [InlineData("qcow2", "read")]
    [InlineData("qcow2", "write")]
    [InlineData("qcow2", "write through")]
    [InlineData("qcow2", "zero")]
    [InlineData("qcow2", "discard")]
    [InlineData("qcow2", "flush")]
    [InlineData("overlay", "read")]
    [InlineData("overlay", "write")]
    [InlineData("overlay", "map")]
    [InlineData("raw", "read")]
    [InlineData("raw", "write")]
    [InlineData("raw", "write of a part of a sector")]
    [InlineData("raw", "zero")]
    [InlineData("raw", "discard")]
    public void Close_waits_for_what_began_before(string kind, string member)
    {
        for (var seed = 1; seed <= 60; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var disk = Open(loop, kind, out var storage);
            using var buffer = new TableBuffer(4096);
            var request = s_members[member](disk, buffer.Take(4096));
            for (var step = 0; step < seed % 5; step++)
                loop.Step();

            // The storage is closed in the end, which it refuses with operations in flight, and operations after it.
            var closing = disk.CloseAsync();

            Assert.InRange(loop.RunUntilComplete(closing), Shutdown, 0);
            Assert.True(request.IsCompleted, $"seed {seed}: closed under a request");
            Assert.Contains(loop.RunUntilComplete(request), (int[])[0, Shutdown]);
            Assert.Equal(0, storage.InFlight);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1UL << 40)]
    public void What_was_acknowledged_is_in_the_image_that_was_closed_under_a_write(ulong autoclear)
    {
        // An unknown autoclear bit makes the first write wait for the header.
        var image = s_image.Value.Copy();
        image.Put64(Qcow2Blk.Format.HeaderField.AutoclearFeatures, autoclear);
        for (var seed = 1; seed <= 200; seed++)
        {
            using var run = new OneImage(image.Copy(), seed: seed);
            if (autoclear == 0)
                Assert.Equal(0, run.Write(512 << 10, 65536, 2));
            var writing = run.WriteAsync(640 << 10, 65536, 3);
            for (var step = 0; step < seed % 12; step++)
                run.Loop.Step();

            Assert.Equal(0, run.Loop.Run(run.Image.CloseAsync));

            Assert.True(writing.IsCompleted, $"seed {seed}: closed under a write");
            var written = run.Loop.RunUntilComplete(writing);
            Assert.Contains(written, (int[])[0, Shutdown]);
            using var again = new OneImage(run.Storage.Content, seed: seed);
            Assert.Equal(0, again.Expect(512 << 10, 65536, (byte)(autoclear == 0 ? 2 : 0)));
            Assert.Equal(0, written < 0 ? 0 : again.Expect(640 << 10, 65536, 3));
            Assert.Equal(0, again.Close().Leaks);
        }
    }

    [Fact]
    public void Other_loops_may_ask_for_the_map_while_the_disk_is_closed()
    {
        using var directory = new TempDirectory();
        var path = Path.Combine(directory.Path, "disk.qcow2");
        QemuImg.Create(path, "64M");
        QemuImg.Io(path, "write -P 1 0 8M");
        using var pool = new OffloadPool(1);
        for (var round = 0; round < 20; round++)
        {
            using var home = new EventLoop(0, pool);
            home.Start();
            var image = ServedScene.On(home, async () =>
            {
                Assert.Equal(0, FileStorage.Open(path, readOnly: false, direct: false, out var file));
                var opened = await Qcow2Image.OpenAsync(file!, new ImageOptions(), null);
                await opened.PrefetchAsync(0, 64 << 20);
                return opened;
            });
            using var running = new CountdownEvent(2);
            var stop = false;
            var misses = 0;
            var threads = new Thread[2];
            for (var i = 0; i < threads.Length; i++)
            {
                var loop = i + 1;
                threads[i] = new Thread(() =>
                {
                    running.Signal();
                    while (!Volatile.Read(ref stop))
                    {
                        for (long offset = 0; offset < 64 << 20; offset += 65536)
                        {
                            var parity = image.Epochs.Enter(loop);
                            var found = image.TryMapRead(offset, 4096, out _) | image.TryMapWrite(offset, 4096, out _);
                            if (!found & !image.TryMapZeroes(offset, 4096))
                                Interlocked.Increment(ref misses);
                            image.Epochs.Exit(loop, parity);
                        }
                    }
                });
                threads[i].Start();
            }

            running.Wait(TestContext.Current.CancellationToken);
            Assert.Equal(0, ServedScene.On(home, image.CloseAsync));
            var before = Volatile.Read(ref misses);
            ServedScene.Until(() => Volatile.Read(ref misses) >= before + 1000, "those that ask miss");
            Volatile.Write(ref stop, true);
            foreach (var thread in threads)
                thread.Join();
            Assert.False(image.TryMapRead(0, 4096, out _));
        }
    }

    private static readonly Lazy<SparseBytes> s_image = new(() => OneImage.Make("cluster_size=65536", "1M", "write -P 1 0 128k"));
    private static readonly Lazy<SparseBytes> s_empty = new(() => OneImage.Make("cluster_size=65536", "1M", "write -P 1 256k 64k"));

    /// <summary>A disk on storages that complain when they are used after their end.</summary>
    private static IDisk Open(SimulatedLoop loop, string kind, out MemoryStorage storage)
    {
        if (kind == "raw")
        {
            var content = new SparseBytes();
            content.SetLength(Bytes);
            storage = new MemoryStorage(loop, content, alignment: 512);
            return new RawDisk(storage, readOnly: false);
        }

        Qcow2Image? backing = null;
        if (kind == "overlay")
        {
            var below = new MemoryStorage(loop, s_image.Value.Copy(), readOnly: true);
            backing = loop.RunUntilComplete(Qcow2Image.OpenAsync(below, new ImageOptions { ReadOnly = true }, null));
        }

        storage = new MemoryStorage(loop, (kind == "overlay" ? s_empty : s_image).Value.Copy());
        var image =
            loop.RunUntilComplete(Qcow2Image.OpenAsync(storage, new ImageOptions { ReadOnly = kind == "read-only qcow2" }, backing));
        Assert.Equal(0, loop.RunUntilComplete(image.PrefetchAsync(0, Bytes)));
        if (backing is not null)
            Assert.Equal(0, loop.RunUntilComplete(backing.PrefetchAsync(0, Bytes)));
        return image;
    }
}
