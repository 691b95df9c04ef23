using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Buffers;
using Xunit;

namespace Qcow2Blk.Tests.Buffers;

/// <summary>What a loop keeps of the memory that a crowd of requests needed.</summary>
public sealed class NativeBufferPoolTests
{
    private const int MiB = 1 << 20;

    [Fact]
    public void Large_buffers_of_all_sizes_together_are_kept_up_to_a_limit_and_the_kernel_gets_the_others()
    {
        var pool = new NativeBufferPool();
        for (var round = 0; round < 3; round++)
        {
            for (var size = MiB; size <= 32 * MiB; size *= 2)
            {
                var rented = new List<NativeBuffer>();
                for (var bytes = 0; bytes < 128 * MiB; bytes += size)
                    rented.Add(pool.Rent(size));
                foreach (var buffer in rented)
                    pool.Return(buffer);
                Assert.InRange(pool.MappedBytes, 1, 64 * MiB);
            }
        }

        pool.Trim();
        Assert.Equal(0, pool.MappedBytes);
    }

    [Fact]
    public void Pool_that_is_given_up_gives_everything_back()
    {
        const int pools = 20;
        var left = 0;
        for (var i = 0; i < pools; i++)
        {
            var pool = new NativeBufferPool();
            var small = pool.Rent(4096);
            pool.Return(small);
            pool.Dispose();
            left += IsMapped(small.Address) ? 1 : 0;
        }

        // What else runs in this process may have got the place of one or the other by now.
        Assert.InRange(left, 0, pools / 2);
    }

    private static bool IsMapped(nint address) => File.ReadLines("/proc/self/maps").Any(line =>
    {
        var ends = line[..line.IndexOf(' ', StringComparison.Ordinal)].Split('-');
        return Convert.ToInt64(ends[0], 16) <= address && address < Convert.ToInt64(ends[1], 16);
    });
}
