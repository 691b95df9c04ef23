using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// A rule of the engine does not hold: wherever that is met, writing stops as for corruption, it is told, reads are served, and
/// neither a request nor the close waits for ever.
/// </summary>
public sealed class InvariantBreachTests
{
    private const int EIO = 5;
    private const int Cluster = 4096;
    private const int Most = 200;
    private const string Rule = "a rule that a test breaks";

    private static readonly SparseBytes s_image = OneImage.Make(
        "cluster_size=4096,refcount_bits=64",
        "64M",
        image => Qemu.Img("snapshot", "-c", "first", image),
        "write -P 1 0 1M",
        "write -c -P 2 1M 64k");

    [Theory]
    [InlineData(StorageOperationKind.Read)]
    [InlineData(StorageOperationKind.Write)]
    [InlineData(StorageOperationKind.Flush)]
    [InlineData(StorageOperationKind.Punch)]
    [InlineData(StorageOperationKind.SetLength)]
    public void Breach_at_any_operation_stops_writing_as_corruption_does(StorageOperationKind kind)
    {
        for (var which = 0; which < Most; which++)
        {
            var told = new List<string>();
            using var run = new OneImage(s_image.Copy(), seed: which + 1, report: told.Add, options: new ImageOptions { CacheBytes = 1 });
            Assert.Equal((0, 0, 0), (run.Write(4 << 20, 64 * Cluster, 3), run.Write(6 << 20, 8 * Cluster, 4), run.Flush()));
            run.Loop.RunUntilIdle();
            var count = 0;
            run.Storage.Breach = operation => operation.Kind == kind && count++ == which ? Rule : null;

            RunSomeOfEverything(run);
            if (count <= which)
            {
                Assert.Empty(told);
                Assert.True(which > 0, $"there was no {kind} to break a rule at");
                return;
            }

            AssertStopped(run, told);
        }

        Assert.Fail($"there are more than {Most} operations of that kind");
    }

    [Theory]
    [InlineData(StorageOperationKind.Write)]
    [InlineData(StorageOperationKind.Flush)]
    public void Breach_in_a_commit_that_nobody_waits_for_is_told_to_the_next_flush(StorageOperationKind kind)
    {
        var told = new List<string>();
        using var run = new OneImage(s_image.Copy(), report: told.Add);
        Assert.Equal((0, 0), (run.Write(4 << 20, 64 * Cluster, 3), run.Flush()));
        Assert.Equal(0, run.Write(8 << 20, Cluster, 4));
        var once = 0;
        run.Storage.Breach = operation => operation.Kind == kind && once++ == 0 ? Rule : null;

        run.Image.WriteBehindWhenIdle();
        run.Loop.RunUntilIdle();

        AssertStopped(run, told);
    }

    [Fact]
    public void Breach_on_the_loop_of_an_export_stops_the_image_at_once_and_ends_no_loop()
    {
        var told = new List<string>();
        using var run = new OneImage(s_image.Copy(), report: told.Add);
        Assert.Equal((0, 0, 0), (run.Write(4 << 20, 64 * Cluster, 3), run.Write(4 << 20, 512, 3), run.Flush()));
        Assert.True(Maps(run, 4 << 20));

        var other = new Thread(() => run.Image.Epochs.Exit(3, 0)); // never entered
        other.Start();
        other.Join();

        Assert.False(Maps(run, 4 << 20));
        Assert.Equal(0, run.Image.Epochs.InProgress);
        run.Loop.RunUntilIdle();
        AssertStopped(run, told, "an epoch that is left is one that was entered (loop = 3, parity = 0)");
    }

    [Fact]
    public void Breach_on_another_loop_is_marked_by_a_close_that_is_faster_than_its_message()
    {
        for (var seed = 1; seed < 20; seed++)
        {
            using var run = new OneImage(s_image.Copy(), seed: seed, report: static _ => { });
            Assert.Equal(0, run.Write(4 << 20, Cluster, 3));
            var close = run.Image.CloseAsync();
            for (var step = 0; step < seed % 5; step++)
                run.Loop.Step();
            if (close.IsCompleted)
                continue;
            var other = new Thread(() => run.Image.Epochs.Exit(3, 0));
            other.Start();
            other.Join();

            Assert.Equal(-EIO, run.Loop.RunUntilComplete(close));
            run.Loop.RunUntilIdle();
            Assert.True(run.Storage.Content.IsMarkedCorrupt());
        }
    }

    [Fact]
    public void Only_the_first_breach_is_told()
    {
        var told = new List<string>();
        using var run = new OneImage(s_image.Copy(), report: told.Add);

        run.Image.Epochs.Exit(3, 0);
        run.Image.Epochs.Exit(4, 1);

        Assert.Contains("loop = 3", Assert.Single(told));
        Assert.Equal(told[0], run.Image.WriteErrorReason);
    }

    [Fact]
    public void Breach_after_a_failed_sync_is_told_as_well()
    {
        var told = new List<string>();
        using var run = new OneImage(s_image.Copy(), report: told.Add);
        Assert.Equal(0, run.Write(4 << 20, Cluster, 3));
        run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Flush ? EIO : 0;
        Assert.Equal(-EIO, run.Flush());

        run.Image.Epochs.Exit(3, 0);

        Assert.Equal(2, told.Count);
        Assert.Contains("broke a rule", told[1]);
    }

    [Fact]
    public void Image_that_is_only_read_is_not_marked()
    {
        using var run = new OneImage(s_image.Copy(), report: static _ => { }, options: new ImageOptions { ReadOnly = true });

        run.Image.Epochs.Exit(3, 0);

        Assert.NotNull(run.Image.WriteErrorReason);
        Assert.Equal((0, 0), (run.Expect(0, Cluster, 1), run.Loop.Run(run.Image.CloseAsync)));
        Assert.Equal(0, run.Storage.InFlight);
    }

    [Theory]
    [InlineData(StorageOperationKind.Write)]
    [InlineData(StorageOperationKind.Flush)]
    [InlineData(StorageOperationKind.Punch)]
    [InlineData(StorageOperationKind.Read)]
    public void Raw_disk_stops_writing_too(StorageOperationKind kind)
    {
        using var loop = new SimulatedLoop(1);
        var told = new List<string>();
        var content = new SparseBytes();
        content.Write(0, new byte[1 << 20]);
        var storage = new MemoryStorage(loop, content, alignment: 512);
        var disk = new RawDisk(storage, readOnly: false, report: told.Add);
        using var buffer = new TableBuffer(100);
        var once = 0;
        storage.Breach = operation => operation.Kind == kind && once++ == 0 ? Rule : null;

        // A part of a sector, so that it is read, too.
        var results = new[]
        {
            loop.Run(() => disk.WriteAsync(700, buffer.Take(100), forceUnitAccess: false)), loop.Run(() => disk.DiscardAsync(4096, 4096)),
            loop.Run(disk.FlushAsync),
        };

        Assert.Contains(-EIO, results);
        Assert.Contains(Rule, Assert.Single(told));
        Assert.Equal(told[0], disk.WriteErrorReason);
        Assert.False(disk.TryMapWrite(0, 512, out _));
        Assert.Equal(-EIO, loop.Run(() => disk.WriteAsync(0, buffer.Take(100), forceUnitAccess: false)));
        Assert.Equal(-EIO, loop.Run(disk.FlushAsync));
        Assert.Equal(0, loop.RunUntilComplete(disk.ReadAsync(0, buffer.Take(100))));
        Assert.Equal((-EIO, 0), (loop.Run(disk.CloseAsync), storage.InFlight));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Requests_of_no_bytes_break_no_rule(bool isQcow2)
    {
        using var loop = new SimulatedLoop(1);
        var content = isQcow2 ? s_image.Copy() : new SparseBytes();
        if (!isQcow2)
            content.Write(0, new byte[1 << 20]);
        var storage = new MemoryStorage(loop, content, alignment: 512);
        IDisk disk = isQcow2
            ? loop.RunUntilComplete(Qcow2Image.OpenAsync(storage, new ImageOptions(), null))
            : new RawDisk(storage, readOnly: false);

        foreach (var offset in new[] { 0, 512, 700, disk.Size })
        {
            Assert.Equal(0, loop.RunUntilComplete(disk.ReadAsync(offset, default)));
            Assert.Equal(0, loop.Run(() => disk.WriteAsync(offset, default, forceUnitAccess: true)));
            Assert.Equal(0, loop.Run(() => disk.WriteZeroesAsync(offset, 0, ZeroFlags.None)));
            Assert.Equal(0, loop.Run(() => disk.WriteZeroesAsync(offset, 0, ZeroFlags.MayUnmap | ZeroFlags.ForceUnitAccess)));
            Assert.Equal(0, loop.Run(() => disk.DiscardAsync(offset, 0)));
        }

        Assert.Null(disk.WriteErrorReason);
        Assert.Equal(0, loop.Run(disk.CloseAsync));
    }

    /// <summary>Requests of all kinds side by side, on tables that are shared with a snapshot.</summary>
    private static void RunSomeOfEverything(OneImage run)
    {
        var group = TaskGroup.Rent();
        for (var place = 0; place < 6; place++)
        {
            var offset = (long)place * (8 << 20);
            group.Add(run.WriteAsync(offset + 512, 3 * Cluster, 5));
            group.Add(run.Image.WriteZeroesAsync(offset + (32 * Cluster), 8 * Cluster, ZeroFlags.MayUnmap));
            group.Add(run.Image.DiscardAsync(offset + (16 * Cluster), 4 * Cluster));
            group.Add(run.Image.PrefetchAsync(offset, 1 << 20));
        }

        group.Add(run.WriteAsync((1 << 20) + 100, 5000, 6)); // compressed before
        group.Add(run.WriteAsync(20 << 20, 2 << 20, 7)); // the file grows
        group.Add(run.Image.DiscardAsync(6 << 20, 8 * Cluster)); // used by no snapshot, so it is punched
        group.Add(run.Image.FlushAsync());
        _ = run.Loop.RunUntilComplete(group.WaitAsync());
        _ = run.Loop.RunUntilComplete(run.Image.MapAsync(0, 1 << 20));
        _ = run.Expect(0, 64 * Cluster, 1);
        _ = run.Flush();
        _ = run.Loop.RunUntilComplete(run.Loop.DelayAsync(1000)); // what was freed waits for older requests
        run.Loop.RunUntilIdle();
    }

    private static void AssertStopped(OneImage run, List<string> told, string rule = Rule)
    {
        run.Storage.Breach = null;
        Assert.Contains(rule, Assert.Single(told));
        Assert.Equal(told[0], run.Image.WriteErrorReason);
        var started = run.Storage.Content.Length;
        Assert.Equal((-EIO, -EIO), (run.Write(0, Cluster, 9), run.Discard(0, Cluster)));
        Assert.Equal((-EIO, -EIO), (run.Zero(0, Cluster, ZeroFlags.None), run.Flush()));
        Assert.Equal(0, run.Expect(4 << 20, 64 * Cluster, 3));
        Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));

        run.Loop.RunUntilIdle();
        Assert.Equal((0, started), (run.Storage.InFlight, run.Storage.Content.Length));
        Assert.Throws<InvalidOperationException>(() => run.Storage.FlushAsync()); // the file was closed
        Assert.True(run.Storage.Content.IsMarkedCorrupt());
        var found = BytesChecker.Check(run.Storage.Content);
        Assert.True(found.Errors == 0, found.Errors == 0 ? "" : found.Findings[0].Message);
        using var again = new OneImage(run.Storage.Content, options: new ImageOptions { ReadOnly = true });
        Assert.Equal(0, again.Expect(4 << 20, 64 * Cluster, 3));
    }

    private static bool Maps(OneImage run, long offset)
    {
        var parity = run.Image.Epochs.Enter(LoopTransfer.Loop);
        var maps = run.Image.TryMapWrite(offset, 512, out _);
        run.Image.Epochs.Exit(LoopTransfer.Loop, parity);
        return maps;
    }
}
