using System;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>A write that was forced to the disk (FUA) is there after a power cut at the moment of its answer, whatever it took.</summary>
public sealed class ForcedChangeTests
{
    private const int Cluster = 65536;

    [Theory]
    [InlineData(0, Cluster)] // in place
    [InlineData(1 << 20, Cluster)] // needs a cluster
    [InlineData(32 << 20, Cluster)] // needs a table of its own
    [InlineData((1 << 20) + 100, 1000)]
    [InlineData(Cluster - 100, 1000)]
    public void Written_bytes(long offset, int length) => AssertLasts(offset, length, 7, How.Write, new ImageOptions());

    [Theory]
    [InlineData(DetectZeroes.Off)]
    [InlineData(DetectZeroes.On)]
    [InlineData(DetectZeroes.Unmap)]
    public void Written_zeroes(DetectZeroes detect) => AssertLasts(0, Cluster, 0, How.Write, new ImageOptions { DetectZeroes = detect });

    [Theory]
    [InlineData(0, 2 * Cluster)]
    [InlineData(1000, Cluster)]
    [InlineData(1000, 100)]
    public void Zeroed_range(long offset, int length) => AssertLasts(offset, length, 0, How.Zero, new ImageOptions());

    [Fact]
    public void Direct_write_that_was_flushed()
    {
        var before = OneImage.Make("cluster_size=65536", "64M", "write -P 1 0 512k");
        using var run = new OneImage(before.Copy());
        Assert.Equal((0, 0), (run.Write(1 << 20, Cluster, 2), run.Flush()));
        run.Storage.Log = new StorageLog();
        var flushed = run.Storage.Content.Copy();
        using var buffer = new TableBuffer(Cluster);
        buffer.Span.Fill(7);
        Assert.Equal(0, run.Loop.RunUntilComplete(LoopTransfer.WriteAsync(run.Image, 0, buffer.Take(Cluster))));
        Assert.Equal(0, run.Flush());

        var found = Durable(run, flushed, 0, Cluster);

        Assert.False(found.AsSpan().ContainsAnyExcept((byte)7));
        run.Close();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Direct_write_that_ends_while_the_disk_is_closed(bool isQcow2)
    {
        var before = OneImage.Make("cluster_size=65536", "16M", "write -P 1 0 512k");
        using var loop = new SimulatedLoop(1);
        var storage = new MemoryStorage(loop, before.Copy());
        IDisk disk = isQcow2
            ? loop.RunUntilComplete(Qcow2Image.OpenAsync(storage, new ImageOptions(), null))
            : new RawDisk(storage, readOnly: false);
        using var buffer = new TableBuffer(Cluster);
        buffer.Span.Fill(7);
        var offset = isQcow2 ? 0 : before.DataCluster(0);
        var loadsTables = disk.WriteAsync(offset + Cluster, buffer.Take(512), forceUnitAccess: true);
        Assert.Equal(0, loop.RunUntilComplete(loadsTables));
        var settled = storage.Content.Copy();
        storage.Log = new StorageLog();
        storage.Hold = operation => operation.Kind == StorageOperationKind.Write;

        var write = LoopTransfer.WriteAsync(disk, offset, buffer.Take(Cluster));
        var close = disk.CloseAsync();
        loop.RunUntilComplete(loop.DelayAsync(10));
        Assert.Equal((false, 1), (close.IsCompleted, storage.InFlight));
        Assert.False(disk.TryMapWrite(offset, 512, out _)); // nobody would wait for what begins now
        storage.Release();

        Assert.Equal((0, 0), (loop.RunUntilComplete(write), loop.RunUntilComplete(close)));
        var crash = new CrashImage(settled, storage.Log);
        crash.AdvanceTo(storage.Log.Tick);
        var found = new byte[Cluster];
        crash.Read(before.DataCluster(0), found);
        Assert.False(found.AsSpan().ContainsAnyExcept((byte)7), "what was answered is not on disk");
    }

    /// <summary>
    /// A zero cluster is written where it lies, so that no refcount changes: its entry must not be on disk before its bytes, though
    /// a commit comes while the rest of the same request is still being written.
    /// </summary>
    [Fact]
    public void Zero_cluster_that_was_filled_in_place_never_shows_its_old_bytes()
    {
        var before = OneImage.Make("cluster_size=65536", "64M", "write -P 1 0 512k", "write -z 0 64k");
        using var run = new OneImage(before.Copy());
        run.Storage.Log = new StorageLog();
        var place = before.DataCluster(1);
        run.Storage.Hold = operation => operation.Offset == place;
        var write = run.WriteAsync(0, 2 * Cluster, 7);
        run.Loop.RunUntilIdle();
        Assert.Equal(1, run.Storage.InFlight);
        Assert.Equal(0, run.Flush());

        var random = new Random(1);
        var crash = new CrashImage(before, run.Storage.Log);
        var found = new byte[Cluster];
        for (long tick = 0; tick <= run.Storage.Log.Tick; tick++)
        {
            crash.AdvanceTo(tick);
            for (var cut = 0; cut < 30; cut++)
            {
                crash.Cut(random);
                new GuestReader(crash).Read(0, found);
                crash.Restore();
                Assert.False(found.AsSpan().ContainsAnyExcept((byte)0, (byte)7), $"a cut at tick {tick} shows old bytes");
            }
        }

        run.Storage.Release();
        Assert.Equal(0, run.Loop.RunUntilComplete(write));
        run.Close();
    }

    private enum How
    {
        Write,
        Zero,
    }

    private static void AssertLasts(long offset, int length, byte value, How how, ImageOptions options)
    {
        var before = OneImage.Make("cluster_size=65536", "64M", "write -P 1 0 512k");
        foreach (var alignment in new[] { 1, 512 })
        {
            using var run = new OneImage(before.Copy(), options: options, alignment: alignment);
            run.Storage.Log = new StorageLog();
            using var buffer = new TableBuffer(length);
            buffer.Span.Fill(value);
            Assert.Equal(0, run.Loop.RunUntilComplete(how == How.Write
                ? run.Image.WriteAsync(offset, buffer.Take(length), forceUnitAccess: true)
                : run.Image.WriteZeroesAsync(offset, length, ZeroFlags.MayUnmap | ZeroFlags.ForceUnitAccess)));

            Assert.Equal(-1, Durable(run, before, offset, length).AsSpan().IndexOfAnyExcept(value));
            run.Close();
        }
    }

    /// <summary>What the disk holds after a power cut now, if only what completed syncs cover is left.</summary>
    private static byte[] Durable(OneImage run, SparseBytes before, long offset, int length)
    {
        var crash = new CrashImage(before, run.Storage.Log!);
        crash.AdvanceTo(run.Storage.Log!.Tick);
        Assert.Equal(0, BytesChecker.Check(crash).Errors);
        var found = new byte[length];
        new GuestReader(crash).Read(offset, found);
        return found;
    }
}
