using System;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Qcow2Blk.Format;

namespace Qcow2Blk.Inspect;

/// <summary>A piece of the disk that is of one kind, and if it has a place, in one piece of the file.</summary>
internal readonly record struct MappedPiece(L2Kind Kind, long Host, long Length);

/// <summary>The active L1 table of one qcow2 image, and the L2 table that was read last.</summary>
internal sealed class MappedImage
{
    private readonly InspectedFile _file;
    private readonly Geometry _geometry;
    private readonly ulong[] _l1;
    private readonly ulong[] _l2;
    private int _loaded = -1;

    /// <exception cref="ImageFormatException">a table is past the end of the file</exception>
    internal MappedImage(InspectedFile file, Header header)
    {
        _file = file;
        _geometry = new Geometry(header);
        _l2 = new ulong[_geometry.ClusterSize / sizeof(ulong)];
        long needed = _geometry.GuestClusters == 0 ? 0 : _geometry.L1Index(new GuestCluster(_geometry.GuestClusters - 1)) + 1;
        if (needed > 0 && header.L1TableOffset.Value + needed * sizeof(ulong) > file.Length)
        {
            throw new ImageFormatException(file.Path, "l1_table_offset",
                $"L1 table at {header.L1TableOffset} with {needed} entries ends past the file (size {file.Length})");
        }

        _l1 = ReadTable(header.L1TableOffset.Value, new ulong[needed]);
    }

    /// <summary>What the entries say from an offset on.</summary>
    /// <param name="offset">within the disk</param>
    /// <param name="limit">bytes of interest</param>
    internal MappedPiece Lookup(GuestOffset offset, long limit)
    {
        var cluster = _geometry.ClusterOf(offset);
        int l1Index = _geometry.L1Index(cluster), l2Index = _geometry.L2Index(cluster);
        if (L1Entry.Decode(_l1[l1Index]).IsEmpty)
        {
            var emptyTo = new GuestOffset((long)(l1Index + 1) << (_geometry.L2Bits + _geometry.ClusterBits));
            return new MappedPiece(L2Kind.Unallocated, 0, Math.Min(limit, emptyTo - offset));
        }

        Load(l1Index);
        var first = Entry(l1Index, l2Index, cluster);
        var subcluster = _geometry.Subcluster(offset);
        var kind = first.KindAt(subcluster, _geometry);
        var start = _geometry.StartOf(cluster);
        var clusterEnd = start + _geometry.ClusterSize;
        var end = start + ((long)(subcluster + first.RunAt(subcluster, _geometry)) << _geometry.SubclusterBits);
        while (end == clusterEnd && ++l2Index < _geometry.L2Entries && end - offset < limit)
        {
            var next = Entry(l1Index, l2Index, ++cluster);
            var isPlaced = kind is L2Kind.Data or L2Kind.ZeroAllocated;
            if (next.KindAt(0, _geometry) != kind || (isPlaced && next.Host.Value != first.Host.Value + (end - start)))
                break;
            end += (long)next.RunAt(0, _geometry) << _geometry.SubclusterBits;
            clusterEnd += _geometry.ClusterSize;
        }

        return new MappedPiece(kind, first.Host.Value + _geometry.Within(offset), Math.Min(limit, end - offset));
    }

    private L2Entry Entry(int l1Index, int l2Index, GuestCluster cluster)
    {
        var stored = _geometry.HasExtendedL2
            ? new StoredL2Entry(_l2[l2Index * 2], _l2[(l2Index * 2) + 1])
            : new StoredL2Entry(_l2[l2Index]);
        var entry = L2Entry.Decode(stored, _geometry);
        var isElsewhere = _geometry.HasDataFile && entry.HasHost && entry.Host.Value != _geometry.StartOf(cluster).Value;
        if (entry.Kind == L2Kind.Invalid || isElsewhere)
        {
            throw new ImageFormatException(
                _file.Path, "l2_entry", $"L2 entry {stored} is invalid (L1 index {l1Index}, L2 index {l2Index})");
        }

        return entry;
    }

    private void Load(int l1Index)
    {
        if (_loaded == l1Index)
            return;
        var entry = L1Entry.Decode(_l1[l1Index]);
        if (!entry.IsAligned(_geometry))
            throw new ImageFormatException(_file.Path, "l1_entry", $"L2 table offset {entry.Offset} is unaligned (L1 index {l1Index})");
        if (entry.Offset.Value > _file.Length - _geometry.ClusterSize)
        {
            throw new ImageFormatException(_file.Path, "l1_entry",
                $"L2 table at {entry.Offset} ends past the file (size {_file.Length}, L1 index {l1Index})");
        }

        _loaded = -1;
        ReadTable(entry.Offset.Value, _l2);
        _loaded = l1Index;
    }

    private ulong[] ReadTable(long offset, ulong[] table)
    {
        _file.Read(offset, MemoryMarshal.AsBytes(table.AsSpan()));
        BinaryPrimitives.ReverseEndianness(table, table);
        return table;
    }
}
