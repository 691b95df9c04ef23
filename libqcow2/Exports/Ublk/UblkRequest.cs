using Qcow2Blk.Buffers;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>What the kernel asks for in one request (struct ublksrv_io_desc), and what that means for the disk.</summary>
/// <param name="Flags">operation and UBLK_IO_F_*</param>
/// <param name="Sectors">length in sectors of 512 bytes</param>
/// <param name="StartSector">where the range begins</param>
internal readonly record struct UblkRequest(uint Flags, uint Sectors, ulong StartSector)
{
    public uint Operation => Flags & Interop.Ublk.OperationMask;

    public bool IsRead => Operation == Interop.Ublk.UBLK_IO_OP_READ;

    public bool IsWrite => Operation == Interop.Ublk.UBLK_IO_OP_WRITE;

    public IoKind Kind => IsRead ? IoKind.Read : IsWrite ? IoKind.Write : IoKind.Other;

    public RequestOperation TracedAs => Operation switch
    {
        Interop.Ublk.UBLK_IO_OP_READ => RequestOperation.Read,
        Interop.Ublk.UBLK_IO_OP_WRITE => RequestOperation.Write,
        Interop.Ublk.UBLK_IO_OP_FLUSH => RequestOperation.Flush,
        Interop.Ublk.UBLK_IO_OP_DISCARD => RequestOperation.Discard,
        Interop.Ublk.UBLK_IO_OP_WRITE_ZEROES => RequestOperation.WriteZeroes,
        _ => RequestOperation.Unknown,
    };

    /// <summary>Which limits hold for it.</summary>
    public IoKind LimitedAs => Operation switch
    {
        Interop.Ublk.UBLK_IO_OP_READ => IoKind.Read,
        Interop.Ublk.UBLK_IO_OP_FLUSH => IoKind.Other,
        _ => IoKind.Write,
    };

    /// <summary>The driver could not hand over the pages of the request: they must be copied.</summary>
    public bool MustCopy => (Flags & Interop.Ublk.UBLK_IO_F_NEED_REG_BUF) != 0;

    /// <summary>Whether one transfer to or from the file is all there is to do; forced to the disk (FUA) it is not.</summary>
    public bool MayTransferDirectly => IsRead || (IsWrite && !ForceUnitAccess);

    public long Offset => (long)(StartSector << 9);

    public long Length => (long)Sectors << 9;

    private bool ForceUnitAccess => (Flags & Interop.Ublk.UBLK_IO_F_FUA) != 0;

    /// <summary>Does it all by the disk. On its home loop.</summary>
    /// <param name="served">the disk</param>
    /// <param name="buffer">the bytes of a READ or WRITE</param>
    /// <param name="pieces">goes through a long range</param>
    public LoopTask<int> ExecuteAsync(ServedDisk served, NativeBuffer buffer, LongRequest pieces)
    {
        var flushes = ForceUnitAccess || Operation == Interop.Ublk.UBLK_IO_OP_FLUSH;
        if (flushes && served.BlockDevice.TakeLoss() is var lost and < 0)
            return new LoopTask<int>(lost);
        var disk = served.Disk;
        return Operation switch
        {
            Interop.Ublk.UBLK_IO_OP_READ => disk.ReadAsync(Offset, buffer),
            Interop.Ublk.UBLK_IO_OP_WRITE => disk.WriteAsync(Offset, buffer, ForceUnitAccess),
            Interop.Ublk.UBLK_IO_OP_FLUSH => disk.FlushAsync(),
            Interop.Ublk.UBLK_IO_OP_DISCARD => pieces.DiscardAsync(disk, Offset, Length, ForceUnitAccess),
            Interop.Ublk.UBLK_IO_OP_WRITE_ZEROES => pieces.WriteZeroesAsync(disk, Offset, Length, ZeroFlagsOf()),
            _ => new LoopTask<int>(-Errno.EOPNOTSUPP),
        };
    }

    private ZeroFlags ZeroFlagsOf()
    {
        var flags = (Flags & Interop.Ublk.UBLK_IO_F_NOUNMAP) != 0 ? ZeroFlags.None : ZeroFlags.MayUnmap;
        return ForceUnitAccess ? flags | ZeroFlags.ForceUnitAccess : flags;
    }
}
