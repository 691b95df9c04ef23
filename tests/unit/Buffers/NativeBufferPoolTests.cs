using System.Collections.Generic;
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
}
