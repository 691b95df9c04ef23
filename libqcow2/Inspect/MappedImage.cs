using System;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Qcow2Blk.Format;

namespace Qcow2Blk.Inspect;

/// <summary>The active L1 table of one qcow2 image, and the L2 table that was read last.</summary>
internal sealed class MappedImage
{
    private readonly InspectedFile _file;
    private readonly Geometry _geometry;
    private readonly ulong[] _l1;
    private readonly ulong[] _l2;
    private int _loaded = -1;

    /// <exception cref="ImageFormatException">a feature that maps differently, or a table past the end of the file</exception>
    internal MappedImage(InspectedFile file, Header header)
    {
        RefuseUnmapped(header);
        _file = file;
        _geometry = new Geometry(header);
        _l2 = new ulong[_geometry.L2Entries];
        long needed = _geometry.GuestClusters == 0 ? 0 : _geometry.L1Index(_geometry.GuestClusters - 1) + 1;
        if (needed > 0 && header.L1TableOffset.Value + needed * sizeof(ulong) > file.Length)
        {
            throw new ImageFormatException(file.Path, "l1_table_offset",
                $"L1 table at {header.L1TableOffset} with {needed} entries ends past the file (size {file.Length})");
        }

        _l1 = ReadTable(header.L1TableOffset.Value, new ulong[needed]);
    }

    /// <summary>What the entries say from a cluster on.</summary>
    /// <param name="offset">within the disk</param>
    /// <param name="limit">bytes of interest</param>
    /// <param name="length">bytes of which the answer is true, at most <paramref name="limit"/></param>
    internal L2Entry Lookup(long offset, long limit, out long length)
    {
        var cluster = _geometry.GuestCluster(offset);
        int l1Index = _geometry.L1Index(cluster), l2Index = _geometry.L2Index(cluster);
        if (L1Entry.Decode(_l1[l1Index]).IsEmpty)
        {
            var emptyTo = (long)(l1Index + 1) << (_geometry.L2Bits + _geometry.ClusterBits);
            length = Math.Min(limit, emptyTo - offset);
            return default;
        }

        Load(l1Index);
        var first = Entry(l1Index, l2Index);
        var end = (cluster + 1) << _geometry.ClusterBits;
        for (var next = l2Index + 1; next < _l2.Length && end - offset < limit
            && GoesOn(first, Entry(l1Index, next), next - l2Index); next++)
        {
            end += _geometry.ClusterSize;
        }

        length = Math.Min(limit, end - offset);
        return first;
    }

    private bool GoesOn(in L2Entry first, in L2Entry next, int clusters) =>
        next.Kind == first.Kind
            && (first.Kind is not (L2Kind.Data or L2Kind.ZeroAllocated)
                || next.Host.Value == first.Host.Value + ((long)clusters << _geometry.ClusterBits));

    private L2Entry Entry(int l1Index, int l2Index)
    {
        var entry = L2Entry.Decode(_l2[l2Index], _geometry);
        if (entry.Kind == L2Kind.Invalid)
        {
            throw new ImageFormatException(_file.Path, "l2_entry",
                $"L2 entry 0x{_l2[l2Index]:x} is invalid (L1 index {l1Index}, L2 index {l2Index})");
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

    private static void RefuseUnmapped(Header header)
    {
        if (header.Incompatible.HasFlag(IncompatibleFeatures.ExtendedL2))
            throw new ImageFormatException(header.Path, "incompatible_features", "extended L2 entries are not in this version");
        if (header.Incompatible.HasFlag(IncompatibleFeatures.DataFile))
            throw new ImageFormatException(header.Path, "incompatible_features", "an external data file is not in this version");
    }
}
