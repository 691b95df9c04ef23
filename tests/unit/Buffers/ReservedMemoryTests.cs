using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Xunit;

namespace Qcow2Blk.Tests.Buffers;

public sealed class ReservedMemoryTests
{
    private const int Megabyte = 1 << 20;

    [Fact]
    public void What_was_given_back_can_be_taken_as_one_block_again()
    {
        var memory = new ReservedMemory(Megabyte);
        var taken = new List<nint>();
        for (var address = memory.Take(12); address != 0; address = memory.Take(12))
            taken.Add(address);
        Assert.Equal(256, taken.Count);
        Assert.Equal(0, memory.Take(20));
        foreach (var address in taken)
            memory.Give(address, 12);
        Assert.NotEqual(0, memory.Take(20));
        Assert.Equal(0, memory.Take(12));
    }

    [Fact]
    public void Blocks_never_overlap_whatever_the_order_of_taking_and_giving()
    {
        var random = new Random(4711);
        var memory = new ReservedMemory(4 * Megabyte);
        var taken = new List<(nint Address, int Shift)>();
        for (var step = 0; step < 20_000; step++)
        {
            var shift = random.Next(12, 21);
            if (random.Next(2) == 0 && memory.Take(shift) is var address and not 0)
            {
                Assert.True(memory.Owns(address) && memory.Owns(address + (1 << shift) - 1));
                Assert.DoesNotContain(taken, other => address < other.Address + (1 << other.Shift)
                    && other.Address < address + (1 << shift));
                taken.Add((address, shift));
            }
            else if (taken.Count > 0)
            {
                var index = random.Next(taken.Count);
                memory.Give(taken[index].Address, taken[index].Shift);
                taken.RemoveAt(index);
            }
        }

        foreach (var (address, shift) in taken)
            memory.Give(address, shift);
        Assert.NotEqual(0, memory.Take(22));
    }

    [Fact]
    public void A_pool_uses_its_reserve_before_it_maps_anything_and_puts_small_buffers_together_for_a_large_one()
    {
        var pool = new NativeBufferPool();
        pool.Reserve(Megabyte);
        var small = new List<NativeBuffer>();
        for (var i = 0; i < 256; i++)
            small.Add(pool.Rent(4096));
        Assert.Equal(Megabyte, pool.MappedBytes);
        foreach (var buffer in small)
            pool.Return(buffer);
        var large = pool.Rent(Megabyte);
        Assert.Equal(Megabyte, pool.MappedBytes);
        large.Span.Fill(1);
        pool.Return(large);
        pool.Trim();
        Assert.Equal(Megabyte, pool.MappedBytes);

        // More than the reserve is had all the same.
        Assert.False(pool.Rent(Megabyte).IsEmpty);
        Assert.False(pool.Rent(Megabyte).IsEmpty);
        Assert.Equal(2 * Megabyte, pool.MappedBytes);
    }
}
