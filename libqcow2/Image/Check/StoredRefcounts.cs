using System;
using System.Buffers.Binary;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>The refcounts that the image's own refcount blocks hold, for the clusters that are in the file.</summary>
internal sealed class StoredRefcounts
{
    private const int TableChunk = 64 << 10;
    private const ulong ReservedMask = 0x1FF;

    // Saturated: what is above is far more than any reference count, and all that matters is that it is.
    private readonly uint[] _values;

    private StoredRefcounts(int clusters) => _values = new uint[clusters + 1];

    public uint this[int cluster] => _values[cluster];

    /// <summary>Reads table and blocks, and counts their own references.</summary>
    public static async LoopTask<StoredRefcounts> LoadAsync(IBlockStorage file, CheckedHeader header, ReferenceCounts counts, CheckResult result)
    {
        var stored = new StoredRefcounts(counts.Clusters);
        var bytes = (long)header.RefcountTableClusters << header.ClusterBits;
        counts.Add(header.RefcountTableOffset, bytes, ClusterUse.RefcountTable, CheckSubject.RefcountTable);
        bytes = Math.Min(bytes, Math.Max(0, file.Length - header.RefcountTableOffset)) / 8 * 8;
        using var table = new TableBuffer(TableChunk);
        using var block = new TableBuffer(header.ClusterSize);
        for (long done = 0; done < bytes; done += TableChunk)
        {
            var length = Math.Min(TableChunk, bytes - done);
            var error = await table.ReadAsync(file, header.RefcountTableOffset + done, length);
            for (var index = 0; index < length / 8 && error >= 0; index++)
                if (table[index] != 0)
                    error = await stored.LoadBlockAsync(file, header, counts, result, table[index], done / 8 + index, block);
            if (error < 0)
            {
                result.ReadError = error;
                break;
            }
        }

        return stored;
    }

    private async LoopTask<int> LoadBlockAsync(IBlockStorage file, CheckedHeader header, ReferenceCounts counts, CheckResult result, ulong entry, long index, TableBuffer block)
    {
        var at = header.RefcountTableOffset + index * 8;
        if ((entry & ReservedMask) != 0)
            result.Error(CheckSubject.RefcountTable, at, $"refcount table entry 0x{entry:x} at 0x{at:x} has reserved bits set");
        var offset = (long)(entry & ~ReservedMask);
        if ((offset & (header.ClusterSize - 1)) != 0 || offset == 0)
        {
            result.Error(CheckSubject.RefcountTable, at, $"refcount block at 0x{offset:x} is not aligned to a cluster");
            return 0;
        }

        if (!counts.Add(offset, header.ClusterSize, ClusterUse.RefcountBlock, CheckSubject.RefcountTable))
            return 0;
        var first = index * header.RefcountBlockEntries;
        if (first >= counts.Clusters)
            return 0;
        var error = await block.ReadAsync(file, offset, header.ClusterSize);
        if (error < 0)
            return error;
        var end = Math.Min(first + header.RefcountBlockEntries, counts.Clusters);
        for (var cluster = first; cluster < end; cluster++)
            _values[cluster] = (uint)Math.Min(Get(block.Span, (int)(cluster - first), header.RefcountOrder), uint.MaxValue);
        return 0;
    }

    /// <summary>One entry of a refcount block (spec, "Refcount blocks"): below 8 bits the least significant come first.</summary>
    private static ulong Get(ReadOnlySpan<byte> block, int index, int order) => order switch
    {
        < 3 => (uint)(block[index >> (3 - order)] >> ((index & ((8 >> order) - 1)) << order)) & ((1u << (1 << order)) - 1),
        3 => block[index],
        4 => BinaryPrimitives.ReadUInt16BigEndian(block[(index * 2)..]),
        5 => BinaryPrimitives.ReadUInt32BigEndian(block[(index * 4)..]),
        _ => BinaryPrimitives.ReadUInt64BigEndian(block[(index * 8)..]),
    };
}
