using System;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Map;

/// <summary>What the disk holds, for block status: extents that are alike, whichever files they are in.</summary>
internal sealed partial class GuestMap
{
    // Enough for a whole L2 table of 64 KiB clusters; a client asks again for the rest.
    private const int MaximumSlicesPerMap = 64;

    /// <summary>One extent from <paramref name="offset"/> on, at most <paramref name="length"/> bytes.</summary>
    public async LoopTask<DiskExtent> MapAsync(GuestOffset offset, long length)
    {
        var parity = _context.Epochs.Enter(0);
        var walk = ChainWalk.Rent(Layers);
        DiskExtent extent;
        try
        {
            extent = await MapPiecesAsync(offset, length, walk);
        }
        catch (InvariantBreach breach)
        {
            extent = new DiskExtent(_context.Stop(breach), 0, false, false, 0);
        }

        walk.Return();
        _context.Epochs.Exit(0, parity);
        return extent;
    }

    private async LoopTask<DiskExtent> MapPiecesAsync(GuestOffset offset, long length, ChainWalk walk)
    {
        var first = await MapOneAsync(offset, length, walk);
        var slices = 1;
        var seeks = first.Seeks;

        // What ends within a slice ends because something else follows, and the next call tells what.
        while (first.Error == 0 && first.Length < length && IsSliceEnd(offset + first.Length) && slices++ < MaximumSlicesPerMap
            && seeks < DataHoles.MaximumSeeks)
        {
            var next = await MapOneAsync(offset + first.Length, length - first.Length, walk);
            seeks += next.Seeks;
            if (next.Error < 0 || (next.IsHole, next.IsZero, next.Depth) != (first.IsHole, first.IsZero, first.Depth))
                break;
            first = first with { Length = first.Length + next.Length };
        }

        return seeks == first.Seeks ? first : first with { Seeks = seeks };
    }

    /// <summary>Whether a piece may have ended there only because a slice of one of the images did.</summary>
    private bool IsSliceEnd(GuestOffset offset) => (offset.Value & (_smallestSlice - 1)) == 0;

    /// <summary>The extent at <paramref name="offset"/> within one slice of each image.</summary>
    private async LoopTask<DiskExtent> MapOneAsync(GuestOffset offset, long length, ChainWalk walk)
    {
        var found = await LocateAsync(offset, length, walk);
        if (found.Map is { } map)
            return map.MapOwn(found, offset);
        if (found.Disk is not { } disk)
            return new DiskExtent(found.Error, found.Length, IsHole: true, IsZero: true, found.Depth);
        var below = await disk.MapAsync(offset.Value, found.Length);
        return below.Depth == 0 ? below : below with { Depth = below.Depth + found.Depth - 1 };
    }

    /// <summary>What this image's own entries say, all of one kind. Nothing is awaited: the slice stays where it is.</summary>
    private DiskExtent MapOwn(in Layer found, GuestOffset offset) => found.Kind switch
    {
        L2Kind.Zero => new DiskExtent(0, found.Length, IsHole: true, IsZero: true, found.Depth),
        L2Kind.ZeroAllocated => new DiskExtent(0, found.Length, IsHole: false, IsZero: true, found.Depth),
        L2Kind.Data when Holes.AreExpected => MapData(found, offset),
        L2Kind.Data or L2Kind.Compressed => new DiskExtent(0, found.Length, IsHole: false, IsZero: false, found.Depth),
        _ => new DiskExtent(-Errno.EIO, 0, false, false, 0),
    };

    /// <summary>Data, all or the first of which is alike: stored, or in holes of the file. Nothing is awaited.</summary>
    private DiskExtent MapData(in Layer found, GuestOffset offset)
    {
        var answer = Holes.Begin();
        var done = 0L;
        while (done < found.Length)
        {
            var piece = At(found.Slot, offset + done, found.Length - done);
            var alike = answer.Add(piece.Host, piece.Length);
            done += alike;
            if (alike < piece.Length)
                break;
        }

        // Its clusters are allocated, so it is not a hole of the disk; qemu says the same.
        return new DiskExtent(0, done, IsHole: false, answer.IsHole, found.Depth) { Seeks = answer.Seeks };
    }
}
