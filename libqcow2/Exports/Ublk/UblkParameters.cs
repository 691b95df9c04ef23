using System;
using System.Numerics;
using Qcow2Blk.Interop;
using static Qcow2Blk.Interop.Ublk;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>What a disk is like, as far as its ublk device must know.</summary>
internal readonly record struct UblkDisk
{
    /// <summary>Bytes of the disk; what does not fill a logical block at the end cannot be reached.</summary>
    public required long Size { get; init; }

    public required bool IsReadOnly { get; init; }

    /// <summary>512 or 4096.</summary>
    public required int LogicalBlockSize { get; init; }

    /// <summary>Bytes of a cluster; 4096 for an image without clusters.</summary>
    public required int ClusterSize { get; init; }

    /// <summary>What the file system of the image wants of the memory of direct I/O, in bytes; 0 if requests are copied.</summary>
    public int MemoryAlignment { get; init; }

    /// <summary>The largest request, as ADD_DEV answered it (<c>max_io_buf_bytes</c>).</summary>
    public required uint MaxIoBytes { get; init; }

    /// <summary>Whether discard is to reach the image.</summary>
    public required bool CanDiscard { get; init; }
}

/// <summary>Turns a disk into the parameters of its ublk device, within what the driver accepts.</summary>
internal static class UblkParameters
{
    private const int SectorShift = 9;
    private const int PageBytes = 4096;

    /// <summary>
    /// The most that one discard or write of zeroes covers: 1 GiB. The kernel could send 4 GiB, but a suspend waits for
    /// what has begun, and this much takes a while on a fragmented image.
    /// </summary>
    private const uint LongestClear = 1u << (30 - SectorShift);

    /// <summary>What SET_PARAMS gets.</summary>
    /// <exception cref="ArgumentException">a number that no option or image can bring here: a bug</exception>
    public static ublk_params Of(in UblkDisk disk)
    {
        Check(disk);
        var parameters = new ublk_params
        {
            types = UBLK_PARAM_TYPE_BASIC,
            basic = Basic(disk),
        };
        unsafe
        {
            parameters.len = (uint)sizeof(ublk_params);
        }

        if (!disk.IsReadOnly)
        {
            parameters.types |= UBLK_PARAM_TYPE_DISCARD;
            parameters.discard = Discard(disk);
        }

        // Only zero copy hands the pages of a request to the image file. Without this type the kernel asks for 4 bytes.
        if (disk.MemoryAlignment > 4)
        {
            parameters.types |= UBLK_PARAM_TYPE_DMA_ALIGN;
            parameters.dma.alignment = (uint)disk.MemoryAlignment - 1;
        }

        return parameters;
    }

    private static ublk_param_basic Basic(in UblkDisk disk)
    {
        // Host file systems have blocks of 4 KiB: less than that costs a read before the write.
        var best = Math.Max(disk.LogicalBlockSize, PageBytes);
        return new ublk_param_basic
        {
            // Without VOLATILE_CACHE the kernel sends no flush at all.
            attrs = UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA | (disk.IsReadOnly ? UBLK_ATTR_READ_ONLY : 0),
            logical_bs_shift = Shift(disk.LogicalBlockSize),
            physical_bs_shift = Shift(best),
            io_min_shift = Shift(best),
            io_opt_shift = Shift(Math.Max(disk.ClusterSize, best)),
            max_sectors = disk.MaxIoBytes >> SectorShift,
            dev_sectors = (ulong)new BlockDeviceSize(disk.Size, disk.LogicalBlockSize).Sectors,
        };
    }

    /// <summary>Zeroes can be written even where discard is ignored; the driver wants a granularity in any case.</summary>
    private static ublk_param_discard Discard(in UblkDisk disk) => new()
    {
        discard_granularity = (uint)Math.Max(disk.ClusterSize, disk.LogicalBlockSize),
        max_discard_sectors = disk.CanDiscard ? LongestClear : 0,
        max_discard_segments = 1,
        max_write_zeroes_sectors = LongestClear,
    };

    /// <summary>What ublk_validate_params asks for, with our own narrower limits.</summary>
    private static void Check(in UblkDisk disk)
    {
        if (disk.LogicalBlockSize is not (512 or 4096))
            throw Bad(nameof(disk.LogicalBlockSize), disk.LogicalBlockSize);
        if (disk.ClusterSize is < 512 or > 1 << 28 || !BitOperations.IsPow2(disk.ClusterSize))
            throw Bad(nameof(disk.ClusterSize), disk.ClusterSize);
        if (disk.Size < 0 || new BlockDeviceSize(disk.Size, disk.LogicalBlockSize).Refusal is not null)
            throw Bad(nameof(disk.Size), disk.Size);
        if (disk.MaxIoBytes < PageBytes || disk.MaxIoBytes % PageBytes != 0)
            throw Bad(nameof(disk.MaxIoBytes), disk.MaxIoBytes);
        if (disk.MemoryAlignment is < 0 or > PageBytes || (disk.MemoryAlignment != 0 && !BitOperations.IsPow2(disk.MemoryAlignment)))
            throw Bad(nameof(disk.MemoryAlignment), disk.MemoryAlignment);
    }

    private static byte Shift(int powerOfTwo) => (byte)BitOperations.Log2((uint)powerOfTwo);

    private static ArgumentException Bad(string what, long value) => new($"a ublk device cannot have {what} = {value}");
}
