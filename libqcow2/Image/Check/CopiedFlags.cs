using System;
using System.Buffers.Binary;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>Sets and clears COPIED in the active L1 table and its L2 tables as the refcounts say: set means exactly one.</summary>
internal sealed class CopiedFlags(IBlockStorage file, CheckedHeader header, ReferenceCounts counts)
{
    private const int Chunk = 64 << 10;
    private const ulong OffsetMask = 0x00FFFFFFFFFFFE00;
    private const ulong Copied = 1UL << 63;
    private const ulong Compressed = 1UL << 62;

    public async LoopTask<int> CorrectAsync(ClusterTables tables)
    {
        var l1Bytes = Math.Min(header.L1Entries * 8L, Math.Max(0, file.Length - header.L1Offset)) / 8 * 8;
        var error = await CorrectTableAsync(header.L1Offset, l1Bytes, stride: 8);
        if (error < 0 || header.HasExternalData)
            return error;
        foreach (var table in tables.ActiveL2Tables)
        {
            error = await CorrectTableAsync(table, header.ClusterSize, header.L2EntrySize);
            if (error < 0)
                return error;
        }

        return 0;
    }

    private async LoopTask<int> CorrectTableAsync(long offset, long length, int stride)
    {
        using var buffer = new TableBuffer((int)Math.Min(Chunk, length));
        for (long done = 0; done < length; done += Chunk)
        {
            var count = (int)Math.Min(Chunk, length - done);
            var error = await buffer.ReadAsync(file, offset + done, count);
            if (error >= 0 && Correct(buffer.Span[..count], stride))
                error = await AlignedPatch.WriteAsync(file, offset + done, buffer.Span[..count].ToArray());
            if (error < 0)
                return error;
        }

        return 0;
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
