using System;
using System.Runtime.InteropServices;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Map;

/// <summary>Who decides what a range of the disk holds, from its first byte on.</summary>
/// <param name="Error">0, or a negative errno; nothing else is valid then</param>
/// <param name="Length">bytes of which this is true, at most as many as were asked for</param>
/// <param name="Depth">as <see cref="DiskExtent.Depth"/></param>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct Layer(int Error, long Length, int Depth)
{
    /// <summary>The map of the qcow2 image that decides; null if it is none, or no image has anything there.</summary>
    public GuestMap? Map { get; init; }

    /// <summary>The image below all qcow2 images that decides; null if it is not that one.</summary>
    public IDisk? Disk { get; init; }

    /// <summary>Where the L2 slice is, if <see cref="Map"/> is set; valid until something is awaited.</summary>
    public int Slot { get; init; }

    /// <summary>What all of the range is, if <see cref="Map"/> is set; never unallocated.</summary>
    public L2Kind Kind { get; init; }
}

/// <summary>
/// The way down the backing chain. How deep it is an image says, so nothing here calls itself: each walk is a loop, on
/// a stack of one size.
/// </summary>
internal sealed partial class GuestMap
{
    // Bytes of the disk, a power of two: what a slice of the image with the smallest ones maps.
    private readonly long _smallestSlice;

    /// <summary>Finds the layer that decides, looking at each from this image on down.</summary>
    /// <param name="offset">not before that of the walk's last call</param>
    /// <param name="length">bytes of interest, on the disk</param>
    /// <param name="walk">one for all pieces of a request</param>
    public async LoopTask<Layer> LocateAsync(GuestOffset offset, long length, ChainWalk walk)
    {
        var map = this;
        for (var layer = 0; ; layer++)
        {
            var empty = walk.KnownEmpty(layer, offset);
            if (empty <= 0)
            {
                var slot = await map.Tables.LoadToReadAsync(map.Tables.KeyOf(map._geometry.ClusterOf(offset)));
                if (slot is < 0 and not SlicedTables.Absent)
                    return new Layer(slot, 0, 0);
                empty = map.RunOfKind(slot, offset, length, out var kind);
                if (kind != L2Kind.Unallocated)
                    return new Layer(0, empty, layer + 1) { Map = map, Slot = slot, Kind = kind };
                walk.NoteEmpty(layer, offset + empty);
            }

            length = Math.Min(length, empty);
            if (map.Backing is not { } backing)
                return new Layer(0, length, 0);

            // The zeroes past the end of a shorter backing image count as its own, as in qemu.
            if (offset.Value >= backing.Size)
                return new Layer(0, length, layer + 2);
            length = Math.Min(length, backing.Size - offset.Value);
            if (map.Below is not { } next)
                return new Layer(0, length, layer + 2) { Disk = backing };
            map = next;
        }
    }

    /// <summary>Finds one contiguous piece of a file of the chain that holds the whole range. Any loop.</summary>
    public bool TryMapRead(GuestOffset offset, int length, out FileExtent extent)
    {
        if (TryMapRun(offset, length, inPlace: false, out var host))
        {
            extent = new FileExtent(_context.Data, host.Value, Holes.AreExpected);
            return true;
        }

        return TryMapReadBelow(offset, length, out extent);
    }

    /// <summary>An image that holds nothing there passes the question on, if the answer for the whole range is in its base.</summary>
    private bool TryMapReadBelow(GuestOffset offset, int length, out FileExtent extent)
    {
        extent = default;
        for (var map = this; map.Backing is { } backing; map = map.Below)
        {
            if (offset.Value + length > backing.Size || !map.TryFindNothing(offset, length))
                return false;
            if (map.Below is not { } next)
                return backing.TryMapRead(offset.Value, length, out extent);
            if (!next.TryMapRun(offset, length, inPlace: false, out var host))
                continue;
            extent = new FileExtent(next._context.Data, host.Value, next.Holes.AreExpected);
            return true;
        }

        return false;
    }

    /// <summary>Whether it is known that the whole range reads as zeroes. Any loop.</summary>
    public bool TryMapZeroes(GuestOffset offset, int length)
    {
        for (var map = this; ; map = map.Below)
        {
            if (!map.TryFindOnlyZeroes(offset, length, out var unallocated))
                return false;
            if (!unallocated || map.Backing is not { } backing || offset.Value >= backing.Size)
                return true;
            if (offset.Value + length > backing.Size)
                return false;
            if (map.Below is null)
                return backing.TryMapZeroes(offset.Value, length);
        }
    }
}
