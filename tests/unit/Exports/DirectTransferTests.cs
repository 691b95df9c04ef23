using System;
using System.IO;
using Qcow2Blk.Exports;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Storage;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>The fast path of every export: what it holds while a transfer is under way, and what it leaves to the home loop.</summary>
public sealed class DirectTransferTests : IDisposable
{
    private const int Block = 4096;

    private readonly TempDirectory _folder = new();
    private readonly LoopOfThisTest _loop = new();

    public void Dispose()
    {
        _loop.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void Epoch_is_held_from_the_mapping_to_the_end_of_the_transfer()
    {
        using var file = OpenFile();
        var disk = new FakeDisk { MapsTo = file };
        Assert.Equal((Block, "map-read 4096+4096, told outside an epoch"), Transfer(disk, isWrite: false, 0));
        Assert.Equal(0, disk.Epochs.InProgress);
    }

    [Fact]
    public void Write_is_noted_while_the_epoch_is_still_held_and_its_owner_told_after_it()
    {
        // A suspend waits for the epoch, and then asks whether there is something to flush.
        using var file = OpenFile();
        var disk = new FakeDisk { MapsTo = file };
        Assert.Equal((Block, "map-write 4096+4096, note, told outside an epoch"), Transfer(disk, isWrite: true, 0xA5));
        var bytes = File.ReadAllBytes(file.Path);
        Assert.Equal((0, 0xA5, 0xA5, 0), (bytes[Block - 1], bytes[Block], bytes[(2 * Block) - 1], bytes[2 * Block]));
    }

    [Fact]
    public void Write_that_fails_is_not_noted_and_holds_nothing()
    {
        using var file = OpenFile(readOnly: true);
        var disk = new FakeDisk { MapsTo = file };
        Assert.Equal((-Errno.EBADF, "map-write 4096+4096, told outside an epoch"), Transfer(disk, isWrite: true, 0x77));
        Assert.Equal(0, disk.Epochs.InProgress);
    }

    [Fact]
    public void Mapping_that_is_not_used_holds_nothing()
    {
        using var file = OpenFile();
        var disk = new FakeDisk { MapsTo = file };
        OnLoop(transfer =>
        {
            Assert.Equal(DirectMapping.File, transfer.Map(disk, isWrite: true, 0, Block, orZeroes: false));
            Assert.Equal((1, file, 0), (disk.Epochs.InProgress, transfer.File, transfer.HostOffset));
            transfer.Leave();
        });
        Assert.Equal(0, disk.Epochs.InProgress);
    }

    [Fact]
    public void What_cannot_be_mapped_holds_nothing()
    {
        var disk = new FakeDisk();
        OnLoop(transfer =>
        {
            Assert.Equal(DirectMapping.None, transfer.Map(disk, isWrite: false, 0, Block, orZeroes: true));
        });
        Assert.Equal(0, disk.Epochs.InProgress);
    }

    [Fact]
    public void Zeroes_are_looked_for_within_the_epoch_and_only_where_they_are_asked_for()
    {
        var disk = new FakeDisk { IsZero = true };
        OnLoop(transfer =>
        {
            Assert.Equal(DirectMapping.Zeroes, transfer.Map(disk, isWrite: false, 0, Block, orZeroes: true));
            Assert.Equal(DirectMapping.None, transfer.Map(disk, isWrite: false, 0, Block, orZeroes: false));
        });
        Assert.Equal(["map-read 0+4096", "map-zeroes 0+4096", "map-read 0+4096"], disk.Calls);
        Assert.Equal(0, disk.Epochs.InProgress);
    }

    [Fact]
    public void Storage_that_bytes_must_pass_through_is_left_to_the_home_loop()
    {
        var disk = new FakeDisk { MapsTo = new NoStorage() };
        OnLoop(transfer => Assert.Equal(DirectMapping.None, transfer.Map(disk, isWrite: false, 0, Block, orZeroes: true)));
        Assert.Equal(0, disk.Epochs.InProgress);
    }

    /// <summary>The second block of the disk, as a request of an export would move it.</summary>
    /// <returns>the result, and what happened in which order</returns>
    private (int Result, string Order) Transfer(FakeDisk disk, bool isWrite, byte value)
    {
        using var memory = new TableBuffer(Block);
        memory.Span.Fill(value);
        var owner = new Owner(disk);
        _loop.Run(() =>
        {
            var transfer = new DirectTransfer(_loop.Loop, owner);
            Assert.Equal(DirectMapping.File, transfer.Map(disk, isWrite, Block, Block, orZeroes: false));
            transfer.Start(memory.Take(Block).Address);
            return owner.Ended.Task;
        });
        return (owner.Result, string.Join(", ", disk.Calls));
    }

    private void OnLoop(Action<DirectTransfer> check) => _loop.Run(() =>
    {
        check(new DirectTransfer(_loop.Loop, new Owner(new FakeDisk())));
        return new LoopTask<int>(0);
    });

    /// <summary>Four blocks of zeroes, on the ring.</summary>
    private FileStorage OpenFile(bool readOnly = false)
    {
        var path = _folder.File($"{Guid.NewGuid():n}");
        File.WriteAllBytes(path, new byte[4 * Block]);
        Assert.Equal(0, FileStorage.Open(path, readOnly, direct: false, out var file));
        return file!;
    }

    private sealed class Owner(FakeDisk disk) : IDirectTransferOwner
    {
        public ManualSource<int> Ended { get; } = ManualSource<int>.Rent();

        public int Result { get; private set; }

        public void DirectTransferEnded(int result)
        {
            Result = result;
            disk.Calls.Add(disk.Epochs.InProgress == 0 ? "told outside an epoch" : "told");
            Ended.SetResult(0);
        }
    }
}
