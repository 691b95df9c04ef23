using System;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;
using Xunit;
using static Qcow2Blk.Interop.Ublk;

namespace Qcow2Blk.Tests.Exports.Ublk;

public sealed class UblkParametersTests
{
    private static readonly UblkDisk s_usual = new()
    {
        Size = 10L << 30,
        IsReadOnly = false,
        LogicalBlockSize = 512,
        ClusterSize = 65536,
        MaxIoBytes = 512 << 10,
        CanDiscard = true,
    };

    [Fact]
    public void Usual_disk_has_cache_fua_discard_and_clusters_as_best_size()
    {
        var set = UblkParameters.Of(s_usual);
        Assert.Equal(152u, set.len);
        Assert.Equal(UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_DISCARD, set.types);
        Assert.Equal(UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA, set.basic.attrs);
        Assert.Equal((9, 12, 12, 16),
            (set.basic.logical_bs_shift, set.basic.physical_bs_shift, set.basic.io_min_shift, set.basic.io_opt_shift));
        Assert.Equal((1024u, 0u, (10ul << 30) / 512, 0ul),
            (set.basic.max_sectors, set.basic.chunk_sectors, set.basic.dev_sectors, set.basic.virt_boundary_mask));
        Assert.Equal((65536u, 1u << 21, 1u << 21, 1, 0u), (set.discard.discard_granularity, set.discard.max_discard_sectors,
            set.discard.max_write_zeroes_sectors, set.discard.max_discard_segments, set.discard.discard_alignment));
    }

    [Fact]
    public void Read_only_disk_says_so_and_takes_no_discard()
    {
        var set = UblkParameters.Of(s_usual with { IsReadOnly = true });
        Assert.Equal(UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA | UBLK_ATTR_READ_ONLY, set.basic.attrs);
        Assert.Equal(UBLK_PARAM_TYPE_BASIC, set.types);
        Assert.Equal(default, set.discard);
    }

    [Fact]
    public void Ignored_discard_still_lets_zeroes_be_written()
    {
        var set = UblkParameters.Of(s_usual with { CanDiscard = false });
        Assert.Equal((0u, 65536u, 1u << 21),
            (set.discard.max_discard_sectors, set.discard.discard_granularity, set.discard.max_write_zeroes_sectors));
    }

    [Theory]
    [InlineData(512, 0, 0)]
    [InlineData(512, 4, 0)]
    [InlineData(512, 512, 511)]
    [InlineData(4096, 4096, 4095)]
    public void Memory_alignment_becomes_a_mask_where_it_matters(int block, int alignment, uint mask)
    {
        var set = UblkParameters.Of(s_usual with { LogicalBlockSize = block, MemoryAlignment = alignment });
        Assert.Equal(mask, set.dma.alignment);
        Assert.Equal(mask != 0, (set.types & UBLK_PARAM_TYPE_DMA_ALIGN) != 0);
    }

    [Theory]
    [InlineData(512, 512, 12, 512u)]
    [InlineData(512, 4096, 12, 4096u)]
    [InlineData(2 << 20, 4096, 21, 2u << 20)]
    public void Clusters_below_a_block_do_not_shrink_the_best_size(int cluster, int block, byte best, uint granularity)
    {
        var set = UblkParameters.Of(s_usual with { ClusterSize = cluster, LogicalBlockSize = block });
        Assert.Equal(best, set.basic.io_opt_shift);
        Assert.Equal(granularity, set.discard.discard_granularity);
    }

    [Theory]
    [InlineData(1048576, 512, 2048)]
    [InlineData(1048576 + 511, 512, 2048)]
    [InlineData(1048576 + 512, 4096, 2048)]
    [InlineData(1048576 + 4096, 4096, 2056)]
    public void Size_is_whole_blocks(long size, int block, long sectors)
    {
        Assert.Equal(sectors, new BlockDeviceSize(size, block).Sectors);
        Assert.Equal((ulong)sectors, UblkParameters.Of(s_usual with { Size = size, LogicalBlockSize = block }).basic.dev_sectors);
    }

    /// <summary>ublk_validate_params, as the newest driver has it, over everything that can come.</summary>
    [Fact]
    public void Driver_accepts_whatever_is_built()
    {
        foreach (var block in (int[])[512, 4096])
        {
            foreach (var alignment in (int[])[0, 1, 4, 512, 4096])
            {
                foreach (var io in (uint[])[4096, 512 << 10, 32 << 20])
                {
                    for (var bits = 9; bits <= 21; bits++)
                    {
                        var set =
                            UblkParameters.Of(
                                s_usual with
                                {
                                    LogicalBlockSize = block,
                                    MemoryAlignment = alignment,
                                    ClusterSize = 1 << bits,
                                    MaxIoBytes = io
                                });
                        AssertValid(set, io);
                    }
                }
            }
        }
    }

    [Fact]
    public void What_the_driver_refuses_is_not_built()
    {
        foreach (var bad in (UblkDisk[])
        [
            s_usual with { LogicalBlockSize = 1024 }, s_usual with { LogicalBlockSize = 0 }, s_usual with { ClusterSize = 0 },
            s_usual with { ClusterSize = 3 << 16 }, s_usual with { Size = 511 }, s_usual with { Size = 2048, LogicalBlockSize = 4096 },
            s_usual with { MaxIoBytes = 0 }, s_usual with { MaxIoBytes = 2048 }, s_usual with { MaxIoBytes = 5000 },
            s_usual with { MemoryAlignment = 8192 }, s_usual with { MemoryAlignment = 24 }, s_usual with { MemoryAlignment = -1 },
        ])
        {
            Assert.Throws<ArgumentException>(() => UblkParameters.Of(bad));
        }
    }

    private static void AssertValid(in ublk_params set, uint maxIoBytes)
    {
        var basic = set.basic;
        Assert.InRange(basic.logical_bs_shift, 9, 12);
        Assert.InRange(basic.physical_bs_shift, basic.logical_bs_shift, 28);
        Assert.InRange(basic.io_min_shift, 0, 28);
        Assert.InRange(basic.io_opt_shift, basic.io_min_shift, 28);
        Assert.InRange(basic.max_sectors, 8u, maxIoBytes >> 9);
        Assert.NotEqual(0u, set.discard.discard_granularity);
        Assert.Equal(1, set.discard.max_discard_segments);
        Assert.True(System.Numerics.BitOperations.IsPow2(set.dma.alignment + 1) && set.dma.alignment < 4096);
    }
}
