using System;
using System.Runtime.CompilerServices;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>Where the guest's bytes are.</summary>
internal sealed partial class Qcow2Image
{
    // Enough for a whole L2 table of 64 KiB clusters; a client asks again for the rest.
    private const int MaximumSlicesPerMap = 64;

    // A hint is not worth more: a suspend waits for it, and on a slow disk each slice is a seek.
    private const int MaximumSlicesPerPrefetch = 512;

    public bool TryMapWrite(long offset, int length, out FileExtent extent)
    {
        extent = default;
        if (!_writePrepared || _turns.IsExclusive || _options.DetectZeroes != DetectZeroes.Off || _context.WriteError != 0)
            return false;
        if (((offset | (uint)length) & (_file.OffsetAlignment - 1)) != 0 || !TryMapRun(offset, length, L2Entry.CopiedFlag, out var host))
            return false;

        // Past the end of the file (a truncated image) a write makes the file longer, which only the home loop does.
        if (host + length > _file.Length)
            return false;
        if (host < _geometry.ClusterSize || (Invariant.Thorough && Epochs.InProgress == 0))
            return RefuseMapping(offset, host);
        if (!_bitmapSet.TryTouch(offset, length))
            return false;
        _context.Log?.NoteAlive();
        extent = new FileExtent(_file, host);
        return true;
    }

    /// <summary>A breach on the loop of an export, which serves others too: the home loop will answer this request.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool RefuseMapping(long offset, long host)
    {
        _context.Stop(new InvariantBreach(
            "what loops write in place is mapped inside an epoch, and is not the header"
            + $" (offset = {offset}, host = {host}, requests = {Epochs.InProgress})"));
        return false;
    }

    public async LoopTask<DiskExtent> MapAsync(long offset, long length)
    {
        if (CheckRange(offset, length) is var refusal && (refusal < 0 || length == 0))
            return new DiskExtent(refusal < 0 ? refusal : -Interop.Errno.EINVAL, 0, false, false, 0);
        var parity = Epochs.Enter(0);
        var walk = ChainWalk.Rent(_layers);
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
        Epochs.Exit(0, parity);
        return extent;
    }

    private async LoopTask<DiskExtent> MapPiecesAsync(long offset, long length, ChainWalk walk)
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
    private bool IsSliceEnd(long offset) => (offset & (_smallestSlice - 1)) == 0;

    public async LoopTask<int> PrefetchAsync(long offset, long length)
    {
        if (CheckRange(offset, length) < 0 || length == 0)
            return CheckRange(offset, length);
        var parity = Epochs.Enter(0);
        var last = (offset + length - 1) >> _geometry.ClusterBits;
        var error = 0;

        // Half the cache at most: reading ahead must not drive out what is in use.
        var left = Math.Min(_tables.Cache.Capacity / 2, MaximumSlicesPerPrefetch);
        try
        {
            for (var cluster = offset >> _geometry.ClusterBits; cluster <= last && left-- > 0
                && error == 0; cluster = (_tables.KeyOf(cluster) + 1) << _geometry.SliceBits)
            {
                var slot = await _tables.LoadAsync(_tables.KeyOf(cluster));
                error = slot is < 0 and not SlicedTables.Absent ? slot : 0;
            }
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        Epochs.Exit(0, parity);
        return error;
    }

    /// <summary>Whether the range is one piece of plain data in the file, all of whose entries have <paramref name="flag"/>.</summary>
    /// <remarks>Lock-free. A mask of all ones asks for no flag: no entry has all bits set.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryMapRun(long offset, int length, ulong flag, out long host)
    {
        var cluster = offset >> _geometry.ClusterBits;
        var last = (offset + length - 1) >> _geometry.ClusterBits;
        host = 0;
        if (!TryMapData(cluster, flag, out var first))
            return false;
        host = first + (offset & _geometry.ClusterMask);
        for (var next = first + _geometry.ClusterSize; ++cluster <= last; next += _geometry.ClusterSize)
        {
            if (!TryMapData(cluster, flag, out var here) || here != next)
                return false;
        }

        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryMapData(long cluster, ulong flag, out long host)
    {
        host = 0;
        if (!_tables.TryRead(cluster, out var raw))
            return false;
        if ((raw & (L2Entry.CompressedFlag | L2Entry.ZeroFlag)) != 0 || (flag != ~0UL && (raw & flag) == 0))
            return false;
        host = (long)(raw & L2Entry.OffsetMask);
        return host != 0 && (host & _geometry.ClusterMask) == 0;
    }

    /// <summary>Whether the image is known to hold nothing in the range. Any loop.</summary>
    private bool IsUnallocated(long offset, int length)
    {
        if (_closed)
            return false;
        var last = (offset + length - 1) >> _geometry.ClusterBits;
        for (var cluster = offset >> _geometry.ClusterBits; cluster <= last; cluster++)
        {
            // The cache first, then the L1 table: as in TryFindOnlyZeroes.
            var known = _tables.TryRead(cluster, out var raw) || _tables.HasNoTable(cluster);
            if (!known || (raw & (L2Entry.CompressedFlag | L2Entry.ZeroFlag | L2Entry.OffsetMask)) != 0)
                return false;
        }

        return true;
    }

    /// <summary>The extent at <paramref name="offset"/> within one slice of each image.</summary>
    private async LoopTask<DiskExtent> MapOneAsync(long offset, long length, ChainWalk walk)
    {
        var found = await LocateAsync(offset, length, walk);
        switch (found.Disk)
        {
            case null:
                return new DiskExtent(found.Error, found.Length, IsHole: true, IsZero: true, found.Depth);
            case Qcow2Image image:
                return image.MapOwn(found, offset);
            default:
                var below = await found.Disk.MapAsync(offset, found.Length);
                return below.Depth == 0 ? below : below with { Depth = below.Depth + found.Depth - 1 };
        }
    }

    /// <summary>What this image's own entries say, all of one kind. Nothing is awaited: the slice stays where it is.</summary>
    private DiskExtent MapOwn(in Layer found, long offset) => found.Kind switch
    {
        L2Kind.Zero => new DiskExtent(0, found.Length, IsHole: true, IsZero: true, found.Depth),
        L2Kind.ZeroAllocated => new DiskExtent(0, found.Length, IsHole: false, IsZero: true, found.Depth),
        L2Kind.Data when _holes.AreExpected => MapData(found, offset),
        L2Kind.Data or L2Kind.Compressed => new DiskExtent(0, found.Length, IsHole: false, IsZero: false, found.Depth),
        _ => new DiskExtent(-Interop.Errno.EIO, 0, false, false, 0),
    };

    /// <summary>How many bytes from <paramref name="offset"/> on have entries of one kind, within the slice.</summary>
    private long RunOfKind(int slot, long cluster, long offset, long length, out L2Kind kind)
    {
        var key = _tables.KeyOf(cluster);
        var end = (key + 1) << _geometry.SliceBits;
        kind = slot == SlicedTables.Absent ? L2Kind.Unallocated : _tables.Entry(slot, cluster).Kind;
        if (slot == SlicedTables.Absent)
        {
            cluster = end - 1;
        }
        else
        {
            var last = Math.Min(end - 1, (offset + length - 1) >> _geometry.ClusterBits);
            while (cluster < last && _tables.Entry(slot, cluster + 1).Kind == kind)
                cluster++;
        }

        return Math.Min(length, ((cluster + 1) << _geometry.ClusterBits) - offset);
    }

    /// <summary>Data clusters, all or the first of which are alike: stored, or in holes of the file. Nothing is awaited.</summary>
    private DiskExtent MapData(in Layer found, long offset)
    {
        var answer = _holes.Begin();
        var done = 0L;
        while (done < found.Length)
        {
            var here = offset + done;
            var cluster = here >> _geometry.ClusterBits;
            var host = _tables.Entry(found.Slot, cluster).Host.Value + (here & _geometry.ClusterMask);
            var piece = ContiguousRun(found.Slot, cluster, here, (int)(found.Length - done));
            var alike = answer.Add(host, piece);
            done += alike;
            if (alike < piece)
                break;
        }

        // Its clusters are allocated, so it is not a hole of the disk; qemu says the same.
        return new DiskExtent(0, done, IsHole: false, answer.IsHole, found.Depth) { Seeks = answer.Seeks };
    }
}
