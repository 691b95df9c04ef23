using System;
using System.Runtime.CompilerServices;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Map;

/// <summary>
/// Where the guest's bytes are: the one place that turns L2 entries into answers, a subcluster at a time (a cluster, without
/// extended L2 entries). What begins with Try may be called on any loop; everything else on the home loop.
/// </summary>
internal sealed partial class GuestMap
{
    // A hint is not worth more: a suspend waits for it, and on a slow disk each slice is a seek.
    private const int MaximumSlicesPerPrefetch = 512;

    private readonly ImageContext _context;
    private readonly Geometry _geometry;
    private volatile bool _closed;

    /// <param name="context">the image</param>
    /// <param name="tables">its L2 tables, or those of one of its snapshots</param>
    /// <param name="backing">what reads through where the image holds nothing; null for zeroes</param>
    /// <param name="below">the map of <paramref name="backing"/>, if that is a qcow2 image</param>
    /// <param name="size">bytes of the disk</param>
    public GuestMap(ImageContext context, L2Tables tables, IDisk? backing, GuestMap? below, long size)
    {
        _context = context;
        _geometry = context.Geometry;
        Tables = tables;
        Backing = backing;
        Below = below;
        Size = size;
        Holes = new DataHoles(context.Data, _geometry);
        Layers = 1 + (below?.Layers ?? 0);
        _smallestSlice = Math.Min(1L << (_geometry.SliceBits + _geometry.ClusterBits), below?._smallestSlice ?? long.MaxValue);
    }

    public L2Tables Tables { get; }

    public IDisk? Backing { get; }

    public GuestMap? Below { get; }

    /// <summary>Bytes of the disk. A disk that is made larger has its end written first.</summary>
    public long Size { get; set; }

    public DataHoles Holes { get; }

    /// <summary>qcow2 images from this one down to the last one of the chain.</summary>
    public int Layers { get; }

    /// <summary>Nobody finds a mapping any more: the tables are about to go. The cache of slices must be empty for lookups, too.</summary>
    public void Close() => _closed = true;

    /// <summary>
    /// What this image says of the disk from <paramref name="offset"/> on: one kind, and if it is data, one piece of the file.
    /// </summary>
    /// <param name="slot">of the slice that maps the offset, or <see cref="SlicedTables.Absent"/></param>
    /// <param name="offset">on the disk</param>
    /// <param name="length">bytes of interest</param>
    /// <param name="sameOwner">whether all of the piece must have the COPIED flag that its first cluster has</param>
    public Mapping At(int slot, GuestOffset offset, long length, bool sameOwner = false)
    {
        var cluster = _geometry.ClusterOf(offset);
        var clusterEnd = _geometry.StartOf(cluster + 1);
        if (slot == SlicedTables.Absent)
            return new Mapping(L2Kind.Unallocated, default, Math.Min(length, SliceEnd(offset) - offset));
        var stored = Tables.Stored(slot, cluster);
        var entry = L2Entry.Decode(stored, _geometry);
        var subcluster = _geometry.Subcluster(offset);
        var kind = Tables.IsMisplaced(entry, cluster) ? L2Kind.Invalid : entry.KindAt(subcluster, _geometry);
        if (kind is L2Kind.Compressed or L2Kind.Invalid)
        {
            return new Mapping(kind, entry.Host, Math.Min(length, clusterEnd - offset))
            {
                CompressedLength = entry.CompressedLength,
                Stored = stored,
            };
        }

        var run = (long)(subcluster + entry.RunAt(subcluster, _geometry)) << _geometry.SubclusterBits;
        var end = _geometry.StartOf(cluster) + run;
        var stop = GuestOffset.Min(offset + length, SliceEnd(offset));
        for (var host = entry.Host + _geometry.ClusterSize; end == clusterEnd && end < stop; host += _geometry.ClusterSize)
        {
            var next = Tables.Entry(slot, ++cluster);
            if (next.KindAt(0, _geometry) != kind || (kind == L2Kind.Data && next.Host != host)
                || (sameOwner && next.Copied != entry.Copied))
            {
                break;
            }

            end = clusterEnd + ((long)next.RunAt(0, _geometry) << _geometry.SubclusterBits);
            clusterEnd += _geometry.ClusterSize;
        }

        return new Mapping(kind, entry.Host + _geometry.Within(offset), Math.Min(length, end - offset))
        {
            Copied = entry.Copied,
            Stored = stored,
        };
    }

    /// <summary>How many bytes from <paramref name="offset"/> on are of one kind, wherever in the file, within the slice.</summary>
    public long RunOfKind(int slot, GuestOffset offset, long length, out L2Kind kind)
    {
        var stop = GuestOffset.Min(offset + length, SliceEnd(offset));
        if (slot == SlicedTables.Absent)
        {
            kind = L2Kind.Unallocated;
            return stop - offset;
        }

        var cluster = _geometry.ClusterOf(offset);
        var clusterEnd = _geometry.StartOf(cluster + 1);
        var entry = Tables.Entry(slot, cluster);
        var subcluster = _geometry.Subcluster(offset);
        kind = Tables.IsMisplaced(entry, cluster) ? L2Kind.Invalid : entry.KindAt(subcluster, _geometry);
        var run = (long)(subcluster + entry.RunAt(subcluster, _geometry)) << _geometry.SubclusterBits;
        var end = _geometry.StartOf(cluster) + run;
        while (end == clusterEnd && end < stop)
        {
            var next = Tables.Entry(slot, ++cluster);
            if (next.KindAt(0, _geometry) != kind)
                break;
            end = clusterEnd + ((long)next.RunAt(0, _geometry) << _geometry.SubclusterBits);
            clusterEnd += _geometry.ClusterSize;
        }

        return GuestOffset.Min(end, stop) - offset;
    }

    /// <summary>An entry says what cannot be: the image is corrupt.</summary>
    public int Invalid(GuestOffset offset, in Mapping found) =>
        _context.Corrupt($"L2 entry {found.Stored} for guest offset {offset.RoundDown(_geometry.ClusterSize)} is not valid");

    /// <summary>Whether something is below this image at that offset of the disk.</summary>
    public bool HasBackingAt(GuestOffset offset) => Backing is not null && offset.Value < Backing.Size;

    /// <summary>Reads tables ahead of a request to come.</summary>
    /// <returns>0, or a negative errno</returns>
    public async LoopTask<int> PrefetchAsync(GuestOffset offset, long length)
    {
        var parity = _context.Epochs.Enter(0);
        var last = _geometry.ClusterOf(offset + (length - 1));
        var error = 0;

        // Half the cache at most: reading ahead must not drive out what is in use.
        var left = Math.Min(Tables.Cache.Capacity / 2, MaximumSlicesPerPrefetch);
        try
        {
            for (var cluster = _geometry.ClusterOf(offset); cluster <= last && left-- > 0
                && error == 0; cluster = Tables.SliceEnd(cluster))
            {
                var slot = await Tables.LoadAsync(Tables.KeyOf(cluster));
                error = slot is < 0 and not SlicedTables.Absent ? slot : 0;
            }
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        _context.Epochs.Exit(0, parity);
        return error;
    }

    /// <summary>Where on the disk the slice ends that maps an offset.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private GuestOffset SliceEnd(GuestOffset offset) => _geometry.StartOf(Tables.SliceEnd(_geometry.ClusterOf(offset)));
}
