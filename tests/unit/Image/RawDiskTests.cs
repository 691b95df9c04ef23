using System;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>Sub-sector writes to a raw disk read, change and write whole sectors: nobody else's change may be undone by it.</summary>
public sealed class RawDiskTests
{
    private const int Sector = 4096;

    [Theory]
    [InlineData("zero", 512, 512)]
    [InlineData("zero", 1024, 8192)]
    [InlineData("zero", 0, Sector)]
    [InlineData("discard", 0, Sector)]
    [InlineData("write", 512, 512)]
    [InlineData("write", 0, Sector)]
    public void Change_that_was_acknowledged_stays_beside_a_read_modify_write(string change, int offset, int length)
    {
        for (var seed = 0; seed < 300; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var content = new SparseBytes();
            var old = new byte[4 * Sector];
            Array.Fill(old, (byte)0x55);
            content.Write(0, old);
            var disk = new RawDisk(new MemoryStorage(loop, content, Sector), readOnly: false);
            using var small = new TableBuffer(512);
            using var large = new TableBuffer(length);
            small.Span.Fill(0xAB);
            large.Span.Fill(0xCD);

            var write = disk.WriteAsync(0, small.Take(512), forceUnitAccess: false);
            for (var step = 0; step < seed % 6; step++)
                loop.Step();
            var other = change switch
            {
                "zero" => disk.WriteZeroesAsync(offset, length, ZeroFlags.None),
                "discard" => disk.DiscardAsync(offset, length),
                _ => disk.WriteAsync(offset, large.Take(length), forceUnitAccess: false),
            };
            Assert.Equal((0, 0), (loop.RunUntilComplete(write), loop.RunUntilComplete(other)));

            var expected = change == "write" ? (byte)0xCD : (byte)0;
            var now = content.Bytes(0, 4 * Sector);
            var start = Math.Max(offset, 512);
            Assert.False(now.AsSpan(start..(offset + length)).ContainsAnyExcept(expected), $"seed {seed}");
            Assert.False(now.AsSpan((offset + length)..).ContainsAnyExcept((byte)0x55), $"seed {seed}");
            Assert.True(now.AsSpan(0, 512).IndexOfAnyExcept((byte)0xAB) < 0
                || (offset == 0 && !now.AsSpan(0, 512).ContainsAnyExcept(expected)), $"seed {seed}");
            loop.Run(disk.CloseAsync);
        }
    }

    [Fact]
    public void Transfer_that_the_file_does_not_take_as_it_is_goes_the_long_way()
    {
        using var loop = new SimulatedLoop(1);
        var content = new SparseBytes();
        content.SetLength(10_000); // the disk has 10,240 bytes
        var disk = new RawDisk(new MemoryStorage(loop, content, 512), readOnly: false);

        Assert.Equal((true, new FileExtent(disk.File, 512)), (disk.TryMapWrite(512, 1024, out var extent), extent));
        Assert.Equal((false, false, false),
            (disk.TryMapWrite(256, 512, out _), disk.TryMapWrite(512, 256, out _), disk.TryMapWrite(513, 511, out _)));
        Assert.Equal((true, disk.File, 100L), (disk.TryMapRead(100, 1000, out extent), extent.File, extent.Offset));
        Assert.Equal((true, false, false),
            (disk.TryMapRead(9000, 1000, out _), disk.TryMapRead(9000, 1001, out _), disk.TryMapRead(10_000, 240, out _)));
        Assert.False(disk.TryMapZeroes(0, 512)); // a file may hold anything
        loop.Run(disk.CloseAsync);
    }

    [Theory]
    [InlineData(512, 1 << 20, 2)]
    [InlineData(0, (1 << 20) + 512, 1)]
    [InlineData(512, (1 << 20) - 512, 1)]
    [InlineData(512, 1024, 1)]
    public void Zeroes_over_a_long_range_are_written_as_data_at_its_edges_only(int offset, int length, int edges)
    {
        using var loop = new SimulatedLoop(7);
        var content = new SparseBytes();
        var old = new byte[2 << 20];
        Array.Fill(old, (byte)0x55);
        content.Write(0, old);
        long written = 0;
        var file = new MemoryStorage(loop, content, Sector)
        {
            Fault = operation =>
            {
                written += operation.Kind == StorageOperationKind.Write ? operation.Length : 0;
                return 0;
            },
        };
        var disk = new RawDisk(file, readOnly: false);

        Assert.Equal(0, loop.RunUntilComplete(disk.WriteZeroesAsync(offset, length, ZeroFlags.MayUnmap)));

        Assert.Equal(edges * Sector, written);
        var now = content.Bytes(0, old.Length);
        Assert.False(now.AsSpan(offset, length).ContainsAnyExcept((byte)0));
        Assert.False(now.AsSpan(0, offset).ContainsAnyExcept((byte)0x55));
        Assert.False(now.AsSpan(offset + length).ContainsAnyExcept((byte)0x55));
        loop.Run(disk.CloseAsync);
    }
}
