using System;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Exports.Ublk;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>Every way to a block device shows the same of a disk, refuses the same, and says so.</summary>
public sealed class BlockDeviceSizeTests
{
    private const long Largest = long.MaxValue - 511; // what a qcow2 header or a raw file can say, in sectors

    private static readonly long[] s_sizes =
        [0, 511, 512, 4095, 4096, 4608, 1 << 20, (1 << 20) + 512, 1024001024, (1L << 41) + 1024, Largest];

    public static TheoryData<string, long, int> Sizes
    {
        get
        {
            var data = new TheoryData<string, long, int>();
            foreach (var way in (string[])["ublk", "netlink", "ioctl"])
            {
                foreach (var block in (int[])[512, 4096])
                {
                    foreach (var size in s_sizes)
                        data.Add(way, size, block);
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Every_way_shows_the_whole_blocks_or_refuses_for_the_same_reason(string way, long size, int block)
    {
        var whole = size - (size % block);
        if (whole > 0)
        {
            Assert.Equal(whole, BytesToldTo(way, size, block));
            return;
        }

        var refused = Assert.Throws<ExportRefusedException>(() => BytesToldTo(way, size, block));

        Assert.Equal($"the disk has {size} bytes: a block device needs at least one block of {block} bytes", refused.Message);
        Assert.NotNull(refused.Hint);
    }

    [Theory]
    [InlineData(0, 512, "resize the image, or serve it over NBD with --socket")]
    [InlineData(512, 4096, "use --block-size 512, or resize the image")]
    public void Refusal_says_what_helps(long size, int block, string hint) =>
        Assert.Equal(hint, Assert.Throws<ExportRefusedException>(() => BlockDeviceSize.Require(size, block)).Hint);

    [Theory]
    [InlineData(1024001024, 4096, 1024, 1024000000)]
    [InlineData((1 << 20) + 512, 4096, 512, 1 << 20)]
    [InlineData(4097, 512, 1, 4096)]
    public void Tail_that_is_cut_off_is_warned_of_with_its_bytes(long size, int block, long tail, long end) => Assert.Equal(
        $"the last {tail} bytes of the disk are not a whole block of {block}: the block device ends before them, at {end} bytes",
        BlockDeviceSize.Require(size, block).Warning);

    [Theory]
    [InlineData(1 << 20, 4096)]
    [InlineData((1 << 20) + 512, 512)]
    [InlineData(Largest, 512)]
    public void Disk_of_whole_blocks_is_not_warned_of(long size, int block) => Assert.Null(BlockDeviceSize.Require(size, block).Warning);

    [Theory]
    [InlineData(512, 512, false, false)]
    [InlineData(4096, 4096, false, false)]
    [InlineData(4096, 512, false, false)]
    [InlineData(512, 4096, true, true)]
    [InlineData(512, 65536, true, false)]
    public void Blocks_that_the_storage_cannot_write_one_by_one_are_told_of(int block, int alignment, bool told, bool avoidable)
    {
        var advice = BlockDeviceSize.Require(1 << 20, block).Advice(alignment);
        Assert.Equal((told, avoidable), (advice is not null, advice?.Contains("--block-size 4096", StringComparison.Ordinal) ?? false));
    }

    /// <summary>Bytes of the device as the kernel is told them.</summary>
    private static long BytesToldTo(string way, long size, int block)
    {
        if (way == "ublk")
        {
            var disk = new UblkDisk
            {
                Size = BlockDeviceSize.Require(size, block).Disk,
                IsReadOnly = false,
                LogicalBlockSize = block,
                ClusterSize = 65536,
                MaxIoBytes = 1 << 19,
                CanDiscard = true,
            };
            return checked((long)UblkParameters.Of(disk).basic.dev_sectors * 512);
        }

        var info = new ExportInfo { Name = "disk", Size = size };
        var options = new AttachOptions { Image = "/disk", BlockSize = block };
        var config = KernelNbdExport.ConfigFor(ExportChoice.KernelOptions(options), info, null, 1, way == "netlink");
        return way == "netlink" ? config.Size : config.Size / config.BlockSize * config.BlockSize;
    }
}
