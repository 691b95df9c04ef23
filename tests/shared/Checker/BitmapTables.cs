using System;
using System.Buffers.Binary;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Checker;

/// <summary>Counts the bitmap directory, bitmap tables and bitmap data (spec, "Bitmaps").</summary>
internal sealed class BitmapTables(IBlockStorage file, CheckedHeader header, ReferenceCounts counts, CheckResult result)
{
    private const int FixedLength = 24;

    /// <summary>As qemu: more are refused.</summary>
    private const uint BitmapLimit = 65535;
    private const ulong ReservedMask = 0xFF000000000001FE;
    private const ulong OffsetMask = 0x00FFFFFFFFFFFE00;

    public async LoopTask<int> AddAsync()
    {
        if (header.BitmapCount == 0)
            return 0;
        var (start, size) = (header.BitmapDirectoryOffset, header.BitmapDirectorySize);
        if (header.BitmapCount > BitmapLimit)
        {
            result.Error(CheckSubject.Bitmaps, start, $"{header.BitmapCount} bitmaps are more than {BitmapLimit}");
            return 0;
        }

        if (size < 0 || !counts.Add(start, size, ClusterUse.Bitmap, CheckSubject.Bitmaps))
            return 0;
        using var buffer = new TableBuffer(FixedLength);
        long position = 0;
        for (uint index = 0; index < header.BitmapCount; index++)
        {
            if (position > size - FixedLength)
            {
                result.Error(CheckSubject.Bitmaps, start,
                    $"bitmap directory of {size} bytes ends before entry {index} of {header.BitmapCount}");
                return 0;
            }

            var error = await buffer.ReadAsync(file, start + position, FixedLength);
            if (error >= 0)
                error = await AddTableAsync((long)buffer[0], BinaryPrimitives.ReadUInt32BigEndian(buffer.Span[8..]));
            if (error < 0)
                return error;
            var (name, extra) = (BinaryPrimitives.ReadUInt16BigEndian(buffer.Span[18..]),
                BinaryPrimitives.ReadUInt32BigEndian(buffer.Span[20..]));
            position += (FixedLength + (long)name + extra + 7) / 8 * 8;
        }

        return 0;
    }

    private async LoopTask<int> AddTableAsync(long offset, long entries)
    {
        if ((offset & (header.ClusterSize - 1)) != 0 || offset == 0)
        {
            result.Error(CheckSubject.Bitmaps, offset, $"bitmap table at 0x{offset:x} is not aligned to a cluster");
            return 0;
        }

        if (!counts.AddTable(offset, entries * 8, ClusterUse.Bitmap, CheckSubject.Bitmaps))
            return 0;
        using var pieces = new TablePieces(file);
        pieces.Begin(offset, entries * 8);
        int count;
        while ((count = await pieces.NextAsync()) > 0)
        {
            for (var index = 0; index < count / 8; index++)
                AddEntry(pieces[index], pieces.Offset + index * 8);
        }

        return count;
    }

    private void AddEntry(ulong entry, long at)
    {
        var data = (long)(entry & OffsetMask);
        if ((entry & ReservedMask) != 0 || (data & (header.ClusterSize - 1)) != 0 || (data != 0 && (entry & 1) != 0))
            result.Error(CheckSubject.Bitmaps, at, $"bitmap table entry 0x{entry:x} at 0x{at:x} is invalid");
        else if (data != 0)
            counts.Add(data, header.ClusterSize, ClusterUse.Bitmap, CheckSubject.Bitmaps);
    }
}
