using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Commit;

/// <summary>
/// Finds those of some host clusters that a table of the disk or of a snapshot names, or is in. Refcounts cannot tell: one that a
/// damaged image uses twice has 1 as well.
/// </summary>
/// <remarks>
/// Each L2 table in the file is read once, several at a time: of 1 TiB in clusters of 64 KiB these are 128 MiB. Memory is a bit for each
/// cluster that has a table. A table that is not one, or past the end of the file, names nothing that anybody would read.
/// </remarks>
internal sealed class NamedClusters
{
    /// <summary>Tables that are read at a time.</summary>
    private const int Depth = 8;

    /// <summary>Most clusters are not among those looked for: one bit says so.</summary>
    private const int FilterBits = 1 << 16;

    private readonly ImageContext _context;
    private readonly Geometry _geometry;
    private readonly HashSet<HostCluster> _wanted;
    private readonly ulong[] _filter = new ulong[FilterBits / 64];
    private readonly ClusterSet _seen = new();
    private readonly Queue<(HostOffset Offset, int Entries)> _l1 = new();
    private ulong[] _piece = [];
    private int _next;

    /// <param name="context">the image</param>
    /// <param name="wanted">what to look for</param>
    public NamedClusters(ImageContext context, HashSet<HostCluster> wanted)
    {
        (_context, _geometry, _wanted) = (context, context.Geometry, wanted);
        foreach (var cluster in wanted)
            _filter[(cluster.Number & (FilterBits - 1)) >> 6] |= 1UL << (int)(cluster.Number & 63);
    }

    /// <summary>Those of them that were found.</summary>
    public HashSet<HostCluster> Found { get; } = [];

    /// <returns>0, or a negative errno: then nobody knows</returns>
    public async LoopTask<int> RunAsync()
    {
        if (_wanted.Count == 0)
            return 0;
        var header = _context.Header;
        Enqueue(header.L1TableOffset, header.L1Size);
        if (await EnqueueSnapshotsAsync(header) is var failed and < 0)
            return failed;
        while (_l1.TryDequeue(out var piece))
        {
            if (await ReadL1Async(piece.Offset, piece.Entries) is var error and < 0)
                return error;
            if (await VisitPieceAsync() is var wrong and < 0)
                return wrong;
        }

        return 0;
    }

    /// <summary>In pieces, so that a large table takes little memory.</summary>
    private void Enqueue(HostOffset offset, int entries)
    {
        var perPiece = _geometry.ClusterSize / sizeof(ulong);
        for (var first = 0; first < entries; first += perPiece)
            _l1.Enqueue((new HostOffset(offset.Value + ((long)first * sizeof(ulong))), Math.Min(perPiece, entries - first)));
    }

    private async LoopTask<int> EnqueueSnapshotsAsync(Header header)
    {
        if (header.SnapshotCount == 0)
            return 0;
        var pool = LoopScheduler.Current.Buffers;
        var table = pool.Rent(SnapshotTable.MaxBytes(header.SnapshotCount, header.SnapshotsOffset, _context.File.Length));
        var error = await _context.File.ReadAsync(header.SnapshotsOffset.Value, table);
        try
        {
            if (error < 0)
                return error;
            foreach (var entry in SnapshotTable.Parse(table.Span, header.SnapshotCount, _context.File.Path, out _))
                Enqueue(entry.L1TableOffset, entry.L1Size);
            return 0;
        }
        finally
        {
            pool.Return(table);
        }
    }

    private async LoopTask<int> ReadL1Async(HostOffset offset, int entries)
    {
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent((int)Rounding.Up((long)entries * sizeof(ulong), _context.WriteUnit));
        var error = await _context.File.ReadAsync(offset.Value, buffer);
        _piece = new ulong[entries];
        for (var i = 0; i < entries && error == 0; i++)
            _piece[i] = BinaryPrimitives.ReadUInt64BigEndian(buffer.Span[(i * sizeof(ulong))..]);
        pool.Return(buffer);
        return error;
    }

    private async LoopTask<int> VisitPieceAsync()
    {
        _next = 0;
        var visitors = new List<LoopTask<int>>();
        for (var i = 0; i < Depth; i++)
            visitors.Add(VisitAsync());
        var error = 0;
        foreach (var visitor in visitors)
            error = await visitor is var failed and < 0 ? failed : error;
        return error;
    }

    /// <summary>Looks through tables that no other looks through.</summary>
    private async LoopTask<int> VisitAsync()
    {
        var pool = LoopScheduler.Current.Buffers;
        var table = pool.Rent(_geometry.ClusterSize);
        var error = 0;
        while (error == 0 && NextTable() is var offset and > 0)
        {
            error = await _context.File.ReadAsync(offset, table);
            if (error == 0)
                Look(table);
        }

        pool.Return(table);
        return error;
    }

    /// <returns>where it is; 0 after the last</returns>
    private long NextTable()
    {
        while (_next < _piece.Length)
        {
            var entry = L1Entry.Decode(_piece[_next++]);
            var offset = entry.Offset;
            var isTable = !entry.IsEmpty && entry.IsAligned(_geometry)
                && offset.Value + _geometry.ClusterSize <= Rounding.Up(_context.File.Length, _geometry.ClusterSize);
            Note(new HostCluster(offset.Value >> _geometry.ClusterBits));
            if (isTable && _seen.Add(offset.Value >> _geometry.ClusterBits))
                return offset.Value;
        }

        return 0;
    }

    private void Look(NativeBuffer table)
    {
        // Guest clusters in a file of their own are none of this one.
        if (_geometry.HasDataFile)
            return;
        var words = MemoryMarshal.Cast<byte, ulong>(table.Span);
        var step = _geometry.L2EntryBytes / sizeof(ulong);
        for (var i = 0; i < words.Length; i += step)
        {
            var raw = BinaryPrimitives.ReverseEndianness(words[i]);
            if ((raw & L2Entry.CompressedFlag) != 0)
                NoteCompressed(raw);
            else if ((raw & L2Entry.OffsetMask) != 0)
                Note(new HostCluster((long)(raw & L2Entry.OffsetMask) >> _geometry.ClusterBits));
        }
    }

    private void NoteCompressed(ulong raw)
    {
        var entry = L2Entry.Decode(raw, _geometry);
        var last = new HostCluster((entry.Host.Value + Math.Max(entry.CompressedLength, 1) - 1) >> _geometry.ClusterBits);
        for (var cluster = new HostCluster(entry.Host.Value >> _geometry.ClusterBits); cluster <= last; cluster++)
            Note(cluster);
    }

    private void Note(HostCluster cluster)
    {
        if ((_filter[(cluster.Number & (FilterBits - 1)) >> 6] & (1UL << (int)(cluster.Number & 63))) != 0 && _wanted.Contains(cluster))
            Found.Add(cluster);
    }
}
