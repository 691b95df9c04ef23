using System;
using System.Buffers.Binary;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>Sets and clears COPIED in the active L1 table and its L2 tables as the refcounts say: set means exactly one.</summary>
internal sealed class CopiedFlags(IBlockStorage file, CheckedHeader header, ReferenceCounts counts)
{
    private const ulong OffsetMask = 0x00FFFFFFFFFFFE00;
    private const ulong Copied = 1UL << 63;
    private const ulong Compressed = 1UL << 62;

    /// <param name="tables">which tables there are</param>
    /// <param name="progress">hears the fraction of them that is done</param>
    public async LoopTask<int> CorrectAsync(ClusterTables tables, Action<double> progress)
    {
        var corrected = 0;
        var error = await CorrectTableAsync(header.L1Offset, header.L1Entries * 8L, stride: 8);
        if (error < 0 || header.HasExternalData)
            return error;
        foreach (var table in tables.ActiveL2Tables)
        {
            progress(corrected++ / (double)tables.Count);
            error = await CorrectTableAsync(table, header.ClusterSize, header.L2EntrySize);
            if (error < 0)
                return error;
        }

        return 0;
    }

    private async LoopTask<int> CorrectTableAsync(long offset, long length, int stride)
    {
        using var pieces = new TablePieces(file);
        pieces.Begin(offset, length);
        int count;
        while ((count = await pieces.NextAsync()) > 0)
        {
            var error = Correct(pieces.Bytes, stride) ? await AlignedPatch.WriteAsync(file, pieces.Offset, pieces.Bytes.ToArray()) : 0;
            if (error < 0)
                return error;
        }

        return count;
    }

    /// <returns>whether something changed</returns>
    private bool Correct(Span<byte> table, int stride)
    {
        var changed = false;
        for (var at = 0; at + 8 <= table.Length; at += stride)
        {
            var entry = BinaryPrimitives.ReadUInt64BigEndian(table[at..]);
            var host = (long)(entry & OffsetMask);
            if ((entry & Compressed) != 0 || host == 0)
                continue;
            var wanted = counts[(int)(host >> header.ClusterBits)] == 1 ? entry | Copied : entry & ~Copied;
            if (wanted == entry)
                continue;
            BinaryPrimitives.WriteUInt64BigEndian(table[at..], wanted);
            changed = true;
        }

        return changed;
    }
}
