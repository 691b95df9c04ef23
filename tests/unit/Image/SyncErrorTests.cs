using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// The kernel tells a failed writeback once, then cleans up after it: whoever asks again gets 0 though the data is lost. So
/// one failed sync of ours must fail every flush from then on.
/// </summary>
public sealed class SyncErrorTests
{
    private const int EIO = 5;

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void One_failed_sync_fails_the_flush_that_waits_behind_it_and_all_later_ones(int failing)
    {
        var image = OneImage.Make("cluster_size=65536", "4M", "write -P 1 0 1M");
        for (var seed = 1; seed <= 20; seed++)
        {
            using var run = new OneImage(image.Copy(), seed: seed);
            Assert.Equal(0, run.Write(2 << 20, 256 << 10, 2));
            var (syncs, failed, writtenAfter) = (0, false, 0);
            run.Storage.Fault = operation =>
            {
                writtenAfter += failed && operation.Kind == StorageOperationKind.Write ? 1 : 0;
                if (operation.Kind != StorageOperationKind.Flush || syncs++ != failing)
                    return 0;
                failed = true;
                return EIO;
            };

            var first = run.Image.FlushAsync();
            var second = run.Image.FlushAsync();

            Assert.Equal((-EIO, -EIO), (run.Loop.RunUntilComplete(first), run.Loop.RunUntilComplete(second)));
            Assert.Equal((-EIO, -EIO), (run.Flush(), run.Write(0, 4096, 3)));
            Assert.Equal((true, 0), (failed, writtenAfter));
            Assert.Equal(0, run.Expect(2 << 20, 256 << 10, 2));
            Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));
            Assert.Equal(0, BytesChecker.Check(run.Storage.Content).Errors);
        }
    }

    [Theory]
    [InlineData(StorageOperationKind.Flush)]
    [InlineData(StorageOperationKind.Write)]
    public void Every_byte_still_reads_when_the_cache_is_full_of_what_cannot_be_written(StorageOperationKind failing)
    {
        // With 512 bytes a cluster, 32 slices of 32 KiB each are cached, in four sets of eight.
        const int slice = 32 << 10;
        const int sets = 4;
        var image = OneImage.Make("cluster_size=512", "4M", "write -P 1 0 4M");
        for (var seed = 1; seed <= 20; seed++)
        {
            using var run = new OneImage(image.Copy(), seed: seed, options: new ImageOptions { CacheBytes = 32 * 512 });
            for (var way = 0; way < 8; way++)
                Assert.Equal(0, run.Zero((long)way * sets * slice, 512, ZeroFlags.None));
            run.Storage.Fault = operation => operation.Kind == failing ? EIO : 0;
            Assert.Equal(-EIO, run.Flush());

            var group = TaskGroup.Rent();
            for (var other = 8; other < 32; other++)
            {
                group.Add(ExpectOnesAsync(run, (long)other * sets * slice));
                group.Add(ExpectOnesAsync(run, (long)other * sets * slice));
            }

            Assert.Equal(0, run.Loop.RunUntilComplete(group.WaitAsync()));
            var extent = run.Loop.RunUntilComplete(run.Image.MapAsync(8 * sets * slice, slice));
            Assert.Equal((0, (long)slice, false), (extent.Error, extent.Length, extent.IsZero));
            for (var way = 0; way < 8; way++)
            {
                Assert.Equal((0, 0),
                    (run.Expect((long)way * sets * slice, 512, 0), run.Expect(((long)way * sets * slice) + 512, slice - 512, 1)));
            }

            // What could not be written but is not lost is written later; a failed sync is for ever.
            run.Storage.Fault = null;
            Assert.Equal(failing == StorageOperationKind.Write ? 0 : -EIO, run.Flush());
            Assert.Equal(0, run.Expect(8 * sets * slice, slice, 1));
            Assert.Equal(failing == StorageOperationKind.Write ? 0 : -EIO, run.Loop.Run(run.Image.CloseAsync));
            Assert.Equal(0, BytesChecker.Check(run.Storage.Content).Errors);
        }
    }

    private static async LoopTask<int> ExpectOnesAsync(OneImage run, long offset)
    {
        using var buffer = new TableBuffer(4096);
        var result = await run.Image.ReadAsync(offset, buffer.Take(4096));
        return result < 0 ? result : buffer.Span[..4096].ContainsAnyExcept((byte)1) ? -1 : 0;
    }

    [Fact]
    public void Failed_sync_of_the_header_fails_the_next_flush_too()
    {
        var image = OneImage.Make("cluster_size=65536", "4M", "write -P 1 0 1M");
        image.Put64(HeaderField.AutoclearFeatures, 1UL << 40);
        AssertFirstChangeMeetsFailedSync(image);
    }

    [Fact]
    public void Failed_sync_of_the_bitmap_directory_fails_the_next_flush_too() => AssertFirstChangeMeetsFailedSync(
        OneImage.Make("cluster_size=65536", "4M", path => Qemu.Img("bitmap", "--add", path, "changes"), "write -P 1 0 1M"));

    private static void AssertFirstChangeMeetsFailedSync(SparseBytes image)
    {
        using var run = new OneImage(image);
        var syncs = 0;
        run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Flush && syncs++ == 0 ? EIO : 0;

        Assert.Equal(-EIO, run.Write(0, 65536, 2));

        Assert.Equal((-EIO, -EIO), (run.Flush(), run.Write(0, 65536, 2)));
        Assert.Equal(1, syncs);
        Assert.Equal(0, run.Expect(0, 1 << 20, 1));
        Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));
    }

    [Fact]
    public void Failed_sync_anywhere_in_the_switch_to_a_larger_refcount_table_stays()
    {
        var image = OneImage.Make("cluster_size=512,refcount_bits=64", "4M", "write -P 1 0 1500k");
        for (var failing = 0; failing < 30; failing++)
        {
            using var run = new OneImage(image.Copy(), seed: failing + 1);
            var syncs = 0;
            run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Flush && syncs++ == failing ? EIO : 0;
            var result = run.Write(2 << 20, 1 << 20, 2);
            if (result == 0)
                result = run.Flush();
            if (syncs <= failing)
            {
                Assert.Equal(0, result);
                Assert.True(failing >= 3, $"only {failing} syncs: the table did not move");
                return;
            }

            Assert.Equal((-EIO, -EIO), (run.Flush(), run.Flush()));
            Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));
            Assert.Equal(0, BytesChecker.Check(run.Storage.Content).Errors);
        }

        Assert.Fail("the syncs never ended");
    }

    [Fact]
    public void Failed_sync_of_a_raw_disk_stays()
    {
        using var loop = new SimulatedLoop(1);
        var content = new SparseBytes();
        content.SetLength(1 << 20);
        var storage = new MemoryStorage(loop, content);
        var disk = new RawDisk(storage, readOnly: false);
        using var buffer = new TableBuffer(4096);
        Assert.Equal(0, loop.RunUntilComplete(disk.WriteAsync(0, buffer.Take(4096), forceUnitAccess: false)));
        var syncs = 0;
        storage.Fault = operation => operation.Kind == StorageOperationKind.Flush && syncs++ == 0 ? EIO : 0;

        Assert.Equal(-EIO, loop.Run(disk.FlushAsync));

        Assert.Equal(-EIO, loop.Run(disk.FlushAsync));
        Assert.Equal(-EIO, loop.RunUntilComplete(disk.WriteAsync(0, buffer.Take(4096), forceUnitAccess: false)));
        Assert.Equal(0, loop.RunUntilComplete(disk.ReadAsync(0, buffer.Take(4096))));
        Assert.Equal(-EIO, loop.Run(disk.CloseAsync));
    }
}
