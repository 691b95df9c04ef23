using System;
using System.Buffers.Binary;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Checker;

/// <summary>The refcounts that the image's own refcount blocks hold, for the clusters that are in the file.</summary>
internal sealed class StoredRefcounts
{
    private const ulong ReservedMask = 0x1FF;

    // Saturated: what is above is far more than any reference count, and all that matters is that it is.
    private readonly ClusterNumbers _values = new();

    public uint this[int cluster] => _values[cluster];

    public ClusterNumbers Values => _values;

    /// <summary>Reads table and blocks, and counts their own references.</summary>
    public static async LoopTask<StoredRefcounts> LoadAsync(IBlockStorage file, CheckedHeader header, ReferenceCounts counts,
        CheckResult result)
    {
        var stored = new StoredRefcounts();
        var bytes = (long)header.RefcountTableClusters << header.ClusterBits;
        counts.Add(header.RefcountTableOffset, bytes, ClusterUse.RefcountTable, CheckSubject.RefcountTable);
        using var table = new TablePieces(file);
        using var block = new TablePieces(file);
        table.Begin(header.RefcountTableOffset, bytes);
        int count;
        while ((count = await table.NextAsync()) > 0)
        {
            var error = 0;
            for (var index = 0; index < count / 8 && error >= 0; index++)
            {
                if (table[index] != 0)
                {
                    error = await stored.LoadBlockAsync(header, counts, result, table[index],
                        (table.Offset - header.RefcountTableOffset) / 8 + index, block);
                }
            }

            if (error < 0)
            {
                result.ReadError = error;
                return stored;
            }
        }

        result.ReadError = count;
        return stored;
    }

    private async LoopTask<int> LoadBlockAsync(CheckedHeader header, ReferenceCounts counts, CheckResult result, ulong entry, long index,
        TablePieces block)
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

        if (!counts.AddTable(offset, header.ClusterSize, ClusterUse.RefcountBlock, CheckSubject.RefcountTable))
            return 0;
        var first = index * header.RefcountBlockEntries;
        if (first >= counts.Clusters)
            return 0;
        block.Begin(offset, header.ClusterSize);
        int count;
        while ((count = await block.NextAsync()) > 0)
            Take(block, header.RefcountOrder, first + ((block.Offset - offset) * 8 >> header.RefcountOrder), counts.Clusters);
        return count;
    }

    private void Take(TablePieces piece, int order, long first, int clusters)
    {
        var end = Math.Min(first + (piece.Bytes.Length * 8L >> order), clusters);
        for (var cluster = first; cluster < end; cluster++)
            _values[(int)cluster] = (uint)Math.Min(Get(piece.Bytes, (int)(cluster - first), order), uint.MaxValue);
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
