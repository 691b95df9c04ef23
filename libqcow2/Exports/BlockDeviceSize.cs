using System;

namespace Qcow2Blk.Exports;

/// <summary>
/// What a block device of the kernel can show of a disk: whole logical blocks, at least one. The one rule for ublk and for the
/// kernel's NBD, made by netlink or by ioctl, when a device is made, taken over, or has another size after a resume. Servers of
/// an NBD socket do not need it: they serve disks of any size, none too, as qemu-nbd does.
/// </summary>
/// <remarks>
/// There is no upper limit to check: the kernel counts bytes of a disk in 63 bits and sectors in 64, netlink takes bytes in 64
/// bits, the ioctl takes blocks in a long, and a disk has at most 2^63 - 512 bytes.
/// </remarks>
internal readonly record struct BlockDeviceSize
{
    private const int SectorShift = 9;

    /// <summary>As --block-size takes it: a page, which is the most that the kernels take.</summary>
    private const int LargestBlockSize = 4096;

    /// <param name="disk">bytes of the disk</param>
    /// <param name="blockSize">logical block size, a power of two from 512 bytes on</param>
    public BlockDeviceSize(long disk, int blockSize)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(disk);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockSize, 1 << SectorShift);
        (Disk, BlockSize) = (disk, blockSize);
    }

    /// <summary>Bytes of the disk.</summary>
    public long Disk { get; }

    /// <summary>Bytes of a logical block.</summary>
    public int BlockSize { get; }

    /// <summary>Blocks of the device.</summary>
    public long Blocks => Disk / BlockSize;

    /// <summary>Bytes of the device.</summary>
    public long Bytes => Blocks * BlockSize;

    /// <summary>Sectors of 512 bytes of the device.</summary>
    public long Sectors => Bytes >> SectorShift;

    /// <summary>Why there can be no such device; null if there can.</summary>
    public string? Refusal => Blocks > 0
        ? null
        : $"the disk has {Disk} bytes: a block device needs at least one block of {BlockSize} bytes";

    /// <summary>What helps against the refusal.</summary>
    public string Hint => Disk >= 1 << SectorShift && BlockSize > 1 << SectorShift
        ? "use --block-size 512, or resize the image"
        : "resize the image, or serve it over NBD with --socket";

    /// <summary>What users of the device must know; null if it shows all of the disk.</summary>
    public string? Warning => Disk == Bytes || Refusal is not null
        ? null
        : $"the last {Disk - Bytes} bytes of the disk are not a whole block of {BlockSize}: the block device ends before them,"
            + $" at {Bytes} bytes";

    /// <summary>What makes small writes slow; null if nothing does.</summary>
    /// <param name="alignment">bytes that the image's storage writes at least</param>
    public string? Advice(int alignment) => alignment <= BlockSize
        ? null
        : $"the image's storage has sectors of {alignment} bytes and the block device blocks of {BlockSize}: smaller writes read first"
            + (alignment == LargestBlockSize ? $", --block-size {LargestBlockSize} avoids that" : "");

    /// <summary>The size of a device that can be.</summary>
    /// <param name="disk">bytes of the disk</param>
    /// <param name="blockSize">logical block size in bytes</param>
    /// <exception cref="ExportRefusedException">it cannot</exception>
    public static BlockDeviceSize Require(long disk, int blockSize)
    {
        var size = new BlockDeviceSize(disk, blockSize);
        return size.Refusal is { } refusal ? throw new ExportRefusedException(ExportRefusal.Failed, refusal, size.Hint) : size;
    }
}
