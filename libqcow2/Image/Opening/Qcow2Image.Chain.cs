using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>
/// The way down the backing chain. How deep it is an image says, so nothing here calls itself: each walk is a loop, on
/// a stack of one size.
/// </summary>
internal sealed partial class Qcow2Image
{
    // Images from this one down to the last qcow2 image of the chain.
    private readonly int _layers;

    // Bytes of the disk, a power of two: what a slice of the image with the smallest ones maps.
    private readonly long _smallestSlice;

    /// <summary>Who decides what a range of the disk holds, from its first byte on.</summary>
    /// <param name="Error">0, or a negative errno; nothing else is valid then</param>
    /// <param name="Disk">whose it is; null if no image has anything there, so that it reads as zeroes</param>
    /// <param name="Depth">as <see cref="DiskExtent.Depth"/></param>
    /// <param name="Length">bytes of which this is true, at most as many as were asked for</param>
    private readonly record struct Layer(int Error, IDisk? Disk, int Depth, long Length)
    {
        /// <summary>Where the L2 slice is, if the disk is a qcow2 image; valid until something is awaited.</summary>
        public int Slot { get; init; }

        /// <summary>What all of the range's entries are; never unallocated.</summary>
        public L2Kind Kind { get; init; }
    }

    /// <summary>Finds the layer that decides, looking at each from this image on down.</summary>
    /// <param name="offset">not before that of the walk's last call</param>
    /// <param name="length">bytes of interest, on the disk</param>
    /// <param name="walk">one for all pieces of a request</param>
    private async LoopTask<Layer> LocateAsync(long offset, long length, ChainWalk walk)
    {
        var image = this;
        for (var layer = 0; ; layer++)
        {
            var empty = walk.KnownEmpty(layer, offset);
            if (empty <= 0)
            {
                var cluster = offset >> image._geometry.ClusterBits;
                var slot = await image._tables.LoadToReadAsync(image._tables.KeyOf(cluster));
                if (slot is < 0 and not SlicedTables.Absent)
                    return new Layer(slot, null, 0, 0);
                empty = image.RunOfKind(slot, cluster, offset, length, out var kind);
                if (kind != L2Kind.Unallocated)
                    return new Layer(0, image, layer + 1, empty) { Slot = slot, Kind = kind };
                walk.NoteEmpty(layer, offset + empty);
            }

            length = Math.Min(length, empty);
            if (image._backing is not { } below)
                return new Layer(0, null, 0, length);

            // The zeroes past the end of a shorter backing image count as its own, as in qemu.
            if (offset >= below.Size)
                return new Layer(0, null, layer + 2, length);
            length = Math.Min(length, below.Size - offset);
            if (below is not Qcow2Image next)
                return new Layer(0, below, layer + 2, length);
            image = next;
        }
    }

    public bool TryMapRead(long offset, int length, out FileExtent extent)
    {
        if (TryMapRun(offset, length, ~0UL, out var host))
        {
            extent = new FileExtent(_file, host, _holes.AreExpected);
            return true;
        }

        return TryMapReadBelow(offset, length, out extent);
    }

    /// <summary>An image that holds nothing there passes the question on, if the answer for the whole range is in its base.</summary>
    private bool TryMapReadBelow(long offset, int length, out FileExtent extent)
    {
        extent = default;
        for (var image = this; image._backing is { } below; image = (Qcow2Image)below)
        {
            if (offset + length > below.Size || !image.IsUnallocated(offset, length))
                return false;
            if (below is not Qcow2Image next)
                return below.TryMapRead(offset, length, out extent);
            if (!next.TryMapRun(offset, length, ~0UL, out var host))
                continue;
            extent = new FileExtent(next._file, host, next._holes.AreExpected);
            return true;
        }

        return false;
    }

    public bool TryMapZeroes(long offset, int length)
    {
        for (var image = this; ; image = (Qcow2Image)image._backing!)
        {
            if (!image.TryFindOnlyZeroes(offset, length, out var unallocated))
                return false;
            if (!unallocated || image._backing is not { } below || offset >= below.Size)
                return true;
            if (offset + length > below.Size)
                return false;
            if (below is not Qcow2Image)
                return below.TryMapZeroes(offset, length);
        }
    }

    public async LoopTask<int> CloseAsync()
    {
        if (_closed)
            return -Errno.ESHUTDOWN;
        var error = await CloseThisAsync();
        for (var below = _backing; below is not null; below = (below as Qcow2Image)?._backing)
            await (below is Qcow2Image image ? image.CloseThisAsync() : below.CloseAsync());
        return error;
    }

    /// <summary>Closes one image of the chain and leaves those below it open.</summary>
    private async LoopTask<int> CloseThisAsync()
    {
        int error;
        try
        {
            await EndRequestsAsync();
            error = _committer is null ? 0 : await SettleAsync();
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
            _tables.Cache.ForgetKeys();
        }

        await DrainAsync();

        // Direct transfers that other loops began before the map was closed to them.
        await Epochs.WaitForQuietAsync();
        FreeMemory();
        _file.Dispose();
        return error;
    }
}
