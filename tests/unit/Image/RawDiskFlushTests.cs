using System;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>A raw disk syncs its file when there is something to sync, never less, and tells every flush what came of it.</summary>
public sealed class RawDiskFlushTests : IDisposable
{
    private const int EIO = 5;

    private readonly SimulatedLoop _loop = new(1);
    private readonly TableBuffer _buffer = new(4096);
    private readonly MemoryStorage _storage;
    private readonly RawDisk _disk;
    private int _syncs;

    public RawDiskFlushTests()
    {
        var content = new SparseBytes();
        content.SetLength(1 << 20);
        _storage = new MemoryStorage(_loop, content, alignment: 512) { Fault = CountSyncs };
        _disk = new RawDisk(_storage, readOnly: false);
    }

    public void Dispose()
    {
        _buffer.Dispose();
        _loop.Dispose();
    }

    [Theory]
    [InlineData("write")]
    [InlineData("small write")]
    [InlineData("zero")]
    [InlineData("small zero")]
    [InlineData("unmap")]
    [InlineData("discard")]
    [InlineData("direct")]
    public void Every_change_is_synced_once(string change)
    {
        Assert.Equal((0, 0), (Flush(), _syncs));

        Assert.Equal(0, Run(change));

        Assert.Equal((0, 0), (_syncs, Flush()));
        Assert.Equal((1, 0, 1), (_syncs, Flush(), _syncs));
        Assert.Equal(0, _loop.Run(_disk.CloseAsync));
        Assert.Equal(1, _syncs);
    }

    [Theory]
    [InlineData("forced write")]
    [InlineData("forced small write")]
    [InlineData("forced zero")]
    [InlineData("forced small zero")]
    public void Forced_change_is_on_disk_when_it_is_answered(string change)
    {
        Assert.Equal(0, Run(change));

        Assert.Equal((1, 0, 1), (_syncs, Flush(), _syncs));
    }

    [Fact]
    public void Change_during_a_flush_is_for_the_next_one()
    {
        for (var seed = 0; seed < 30; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var log = new StorageLog();
            var storage = new MemoryStorage(loop, _storage.Content.Copy()) { Log = log };
            var disk = new RawDisk(storage, readOnly: false);
            Assert.Equal(0, loop.RunUntilComplete(disk.WriteAsync(0, _buffer.Take(512), forceUnitAccess: false)));

            var flush = disk.FlushAsync();
            var write = disk.WriteAsync(4096, _buffer.Take(512), forceUnitAccess: false);
            Assert.Equal(0, loop.RunUntilComplete(write));
            var answered = log.Tick;
            Assert.Equal(0, loop.RunUntilComplete(disk.FlushAsync()));

            // A sync that began before the write was answered need not cover it.
            Assert.Contains(log.Operations, operation =>
                operation.Kind == StorageOperationKind.Flush && operation.Submitted > answered && operation.Completed <= log.Tick);
            Assert.Equal(0, loop.RunUntilComplete(flush));
            Assert.Equal(0, loop.Run(disk.CloseAsync));
        }
    }

    [Fact]
    public void Flush_beside_another_waits_for_what_that_one_has_taken_on()
    {
        for (var seed = 0; seed < 30; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var storage = new MemoryStorage(loop, _storage.Content.Copy()) { Log = new StorageLog() };
            var disk = new RawDisk(storage, readOnly: false);
            Assert.Equal(0, loop.RunUntilComplete(disk.WriteAsync(0, _buffer.Take(512), forceUnitAccess: false)));

            var first = disk.FlushAsync();
            Assert.Equal(0, loop.RunUntilComplete(disk.FlushAsync()));

            Assert.Contains(storage.Log.Operations, operation =>
                operation.Kind == StorageOperationKind.Flush && operation.Completed != long.MaxValue);
            Assert.Equal(0, loop.RunUntilComplete(first));
            Assert.Equal(0, loop.Run(disk.CloseAsync));
        }
    }

    [Fact]
    public void Failed_sync_is_told_to_every_flush_that_was_under_way()
    {
        for (var seed = 0; seed < 30; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var syncs = 0;

            // The kernel tells one of those who ask, and none after that.
            var storage = new MemoryStorage(loop, _storage.Content.Copy())
            {
                Fault = operation => operation.Kind == StorageOperationKind.Flush && syncs++ == 0 ? EIO : 0,
            };
            var disk = new RawDisk(storage, readOnly: false);
            Assert.Equal(0, loop.RunUntilComplete(disk.WriteAsync(0, _buffer.Take(512), forceUnitAccess: false)));
            var first = disk.FlushAsync();
            disk.NoteDirectWrite();
            var second = disk.FlushAsync();
            var third = disk.FlushAsync();

            Assert.Equal((-EIO, -EIO, -EIO), (loop.RunUntilComplete(third), loop.RunUntilComplete(second), loop.RunUntilComplete(first)));
            Assert.Equal((-EIO, 1), (loop.Run(disk.FlushAsync), syncs));
            Assert.NotNull(disk.WriteErrorReason);
            Assert.Equal(-EIO, loop.Run(disk.CloseAsync));
        }
    }

    [Fact]
    public void Nothing_is_changed_after_a_failed_sync()
    {
        Assert.Equal(0, Run("write"));
        Assert.True(_disk.TryMapWrite(0, 512, out _));
        _storage.Fault = operation => operation.Kind == StorageOperationKind.Flush ? EIO : 0;
        Assert.Equal(-EIO, Flush());
        _storage.Fault = null;
        var before = _storage.Started;

        Assert.Equal((-EIO, -EIO, -EIO, -EIO), (Run("write"), Run("small write"), Run("zero"), Run("discard")));

        Assert.Equal(before, _storage.Started);
        Assert.False(_disk.TryMapWrite(0, 512, out _));
        Assert.True(_disk.TryMapRead(0, 512, out _));
    }

    [Fact]
    public void Write_that_failed_may_have_reached_the_file_and_is_synced()
    {
        _storage.Fault = operation => operation.Kind == StorageOperationKind.Write ? EIO : CountSyncs(operation);
        Assert.Equal(-EIO, Run("write"));
        Assert.Equal((0, 1), (Flush(), _syncs));
    }

    [Fact]
    public void Disk_that_is_only_read_is_neither_written_nor_synced()
    {
        var disk = new RawDisk(BackingFile.Open(_loop, _storage.Content), readOnly: true);

        Assert.False(disk.TryMapWrite(0, 512, out _));
        Assert.True(_loop.RunUntilComplete(disk.WriteAsync(0, _buffer.Take(512), forceUnitAccess: false)) < 0);
        Assert.True(_loop.RunUntilComplete(disk.WriteZeroesAsync(0, 512, ZeroFlags.None)) < 0);
        Assert.True(_loop.RunUntilComplete(disk.DiscardAsync(0, 512)) < 0);
        Assert.Equal((0, 0), (_loop.Run(disk.FlushAsync), _loop.Run(disk.CloseAsync)));
    }

    private int CountSyncs(StorageOperation operation)
    {
        _syncs += operation.Kind == StorageOperationKind.Flush ? 1 : 0;
        return 0;
    }

    private int Flush() => _loop.Run(_disk.FlushAsync);

    private int Run(string change) => _loop.RunUntilComplete(change switch
    {
        "write" => _disk.WriteAsync(0, _buffer.Take(4096), forceUnitAccess: false),
        "small write" => _disk.WriteAsync(100, _buffer.Take(100), forceUnitAccess: false),
        "zero" => _disk.WriteZeroesAsync(0, 4096, ZeroFlags.None),
        "small zero" => _disk.WriteZeroesAsync(100, 100, ZeroFlags.None),
        "unmap" => _disk.WriteZeroesAsync(0, 4096, ZeroFlags.MayUnmap),
        "discard" => _disk.DiscardAsync(0, 4096),
        "direct" => LoopTransfer.WriteAsync(_disk, 0, _buffer.Take(4096)),
        "forced write" => _disk.WriteAsync(0, _buffer.Take(4096), forceUnitAccess: true),
        "forced small write" => _disk.WriteAsync(100, _buffer.Take(100), forceUnitAccess: true),
        "forced zero" => _disk.WriteZeroesAsync(0, 4096, ZeroFlags.ForceUnitAccess),
        "forced small zero" => _disk.WriteZeroesAsync(100, 100, ZeroFlags.ForceUnitAccess),
        _ => throw new ArgumentException(change),
    });
}
