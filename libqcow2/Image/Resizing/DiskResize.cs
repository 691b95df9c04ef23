using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Snapshots;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Resizing;

/// <summary>
/// Another size for the disk, with the rules of qemu. It runs as an edit: all is committed, and nobody uses the disk. Afterwards the
/// image can only be closed: much of what is in memory is of the disk before.
/// </summary>
/// <remarks>
/// The disk has its new size with one write, that of the header's sector. What a larger one needs is done before, behind the end of the
/// disk, where nobody looks; what a smaller one gives up is freed after it. So a power cut leaves the disk as it was or as it is to be.
/// </remarks>
internal sealed partial class DiskResize(ResizeParts parts)
{
    private readonly ImageContext _context = parts.Tables.Context;
    private readonly Geometry _geometry = parts.Tables.Geometry;
    private readonly GuestMap _map = parts.Tables.Map;

    private SnapshotParts Tables => parts.Tables;

    private Header Header => _context.Header;

    private IBlockStorage Data => _context.Data;

    /// <summary>Why the disk cannot have this size. Changes nothing, and may run at any time.</summary>
    /// <param name="size">bytes, a multiple of 512</param>
    /// <param name="mayShrink">whether what a smaller disk loses is meant to be lost</param>
    public async LoopTask<EditAnswer?> RefuseAsync(long size, bool mayShrink)
    {
        var reach = (UInt128)Limits.MaxL1Entries << (_geometry.L2Bits + _geometry.ClusterBits);
        if ((UInt128)size > reach)
        {
            return EditAnswer.Refused(EditResult.Failed,
                $"a disk of {size} bytes is too large, clusters of {_geometry.ClusterSize} bytes reach {reach}");
        }

        if (size < _map.Size && !mayShrink)
            return DiskSize.NotToShrink(_map.Size, size);
        if (Header.Version < 3 && Header.SnapshotCount > 0)
            return EditAnswer.Refused(EditResult.Failed, "images of version 2 with snapshots cannot be resized");
        if (size > _map.Size && RefuseGrowth(size) is { } unsuitable)
            return unsuitable;
        return await ResizedBitmaps.RefuseAsync(parts.Bitmaps.Set, parts.Bitmaps.Space, size);
    }

    /// <param name="size">bytes, a multiple of 512; not refused</param>
    public async LoopTask<EditAnswer> RunAsync(long size)
    {
        Invariant.Holds(_context.Log is null, "no log has what happens behind the end of a disk: it is resized by who has none", size);

        // Where the header has no room for both in one sector, that is known before anything is written.
        var error = Header.Bitmaps is { } present ? await _context.HeaderBlock.MakeRoomAsync(present, _geometry.ClusterSize) : 0;
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot write the header");
        (error, var bitmaps) = await ResizedBitmaps.WriteAsync(parts.Bitmaps.Set, parts.Bitmaps.Space, size);
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot write its bitmaps");
        var answer = size < _map.Size ? await ShrinkAsync(size, bitmaps) : await GrowAsync(size, bitmaps);

        // Once writing has stopped, what was written leaks: the header may be the new one.
        if (!answer.Succeeded && _context.WriteError == 0)
            bitmaps?.GiveUp();
        return answer;
    }

    private EditAnswer? RefuseGrowth(long size)
    {
        if (_geometry.HasDataFile && Data.HasFixedLength && size > Data.Length)
        {
            return EditAnswer.Refused(EditResult.Failed,
                $"its data file {Data.Path} is a device of {Data.Length} bytes, and a disk of {size} bytes does not fit");
        }

        return Header.Version < 3 && _map.HasBackingAt(new GuestOffset(_map.Size)) && size > Rounding.Up(_map.Size, _geometry.ClusterSize)
            ? EditAnswer.Refused(EditResult.Failed,
                "its backing file is longer than its disk, and images of version 2 cannot say that zeroes are over it",
                "\"qemu-img amend -o compat=1.1\" makes it version 3")
            : null;
    }

    /// <summary>From this write on the disk has its new size, and bitmaps that fit.</summary>
    private LoopTask<int> SwitchAsync(ActiveTable active, ResizedBitmaps? bitmaps) => bitmaps is null
        ? Tables.SwitchAsync(_context.HeaderBlock.SetActiveAsync(active))
        : bitmaps.ReplaceAsync(extension =>
            Tables.SwitchAsync(_context.HeaderBlock.SetActiveAsync(active, new BitmapsSwitch(extension))));

    /// <summary>L1 entries that a disk of this size needs.</summary>
    private int EntriesFor(long size)
    {
        var bits = _geometry.L2Bits + _geometry.ClusterBits;
        return checked((int)((size + (1L << bits) - 1) >> bits));
    }
}
