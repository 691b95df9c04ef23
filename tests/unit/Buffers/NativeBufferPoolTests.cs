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

    [Fact]
    public void Pool_that_is_given_up_gives_everything_back()
    {
        var before = Mappings();
        for (var round = 0; round < 50; round++)
        {
            using var pool = new NativeBufferPool();
            for (var size = 4096; size <= MiB; size *= 2)
                pool.Return(pool.Rent(size));
        }

        // Each pool has had nine mappings; what else runs in this process may come and go.
        Assert.InRange(Mappings(), 0, before + 100);
    }

    private static int Mappings() => System.IO.File.ReadAllLines("/proc/self/maps").Length;
}
