using System.Buffers.Binary;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Checker;

/// <summary>Counts the snapshot table and hands on the L1 table of each snapshot (spec, "Snapshots").</summary>
internal static class SnapshotTables
{
    private const int FixedLength = 40;

    /// <summary>As qemu: more are refused.</summary>
    private const uint SnapshotLimit = 65536;
    private const uint ExtraDataLimit = 1024;

    /// <summary>Version 3 needs the 64-bit VM state size and the disk size.</summary>
    private const uint ExtraDataNeeded = 16;

    /// <summary>32 MiB of entries, as qemu.</summary>
    private const uint L1EntryLimit = 4 << 20;

    public static async LoopTask<int> AddAsync(IBlockStorage file, CheckedHeader header, ReferenceCounts counts, ClusterTables tables,
        CheckResult result)
    {
        if (header.SnapshotCount > SnapshotLimit)
        {
            result.Error(CheckSubject.SnapshotTable, header.SnapshotTableOffset,
                $"{header.SnapshotCount} snapshots are more than {SnapshotLimit}");
            return 0;
        }

        using var buffer = new TableBuffer(FixedLength);
        var position = header.SnapshotTableOffset;
        for (uint index = 0; index < header.SnapshotCount; index++)
        {
            if (position > file.Length - FixedLength)
            {
                result.Error(CheckSubject.SnapshotTable, position,
                    $"snapshot table entry {index} at 0x{position:x} lies past the end of the file");
                break;
            }

            var error = await buffer.ReadAsync(file, position, FixedLength);
            if (error >= 0)
                error = await AddSnapshotAsync(buffer, header, tables, result, position, index);
            if (error < 0)
                return error;
            position += EntryLength(buffer);
        }

        counts.Add(header.SnapshotTableOffset, position - header.SnapshotTableOffset, ClusterUse.SnapshotTable, CheckSubject.SnapshotTable);
        return 0;
    }

    private static long EntryLength(TableBuffer buffer)
    {
        var span = buffer.Span;
        var length = FixedLength
            + (long)BinaryPrimitives.ReadUInt32BigEndian(span[36..])
            + BinaryPrimitives.ReadUInt16BigEndian(span[12..])
            + BinaryPrimitives.ReadUInt16BigEndian(span[14..]);
        return (length + 7) / 8 * 8;
    }

    private static LoopTask<int> AddSnapshotAsync(TableBuffer buffer, CheckedHeader header, ClusterTables tables, CheckResult result,
        long at, uint index)
    {
        var l1 = (long)buffer[0];
        var entries = BinaryPrimitives.ReadUInt32BigEndian(buffer.Span[8..]);
        var extra = BinaryPrimitives.ReadUInt32BigEndian(buffer.Span[36..]);
        if (extra > ExtraDataLimit)
        {
            result.Error(CheckSubject.SnapshotTable, at,
                $"snapshot table entry {index} has {extra} bytes of extra data, more than {ExtraDataLimit}");
        }
        else if (header.Version == 3 && extra < ExtraDataNeeded)
        {
            result.Error(CheckSubject.SnapshotTable, at,
                $"snapshot table entry {index} has {extra} bytes of extra data, less than {ExtraDataNeeded}");
        }

        if ((l1 & (header.ClusterSize - 1)) != 0 || l1 < 0)
            result.Error(CheckSubject.SnapshotTable, at, $"L1 table of snapshot {index} at 0x{l1:x} is not aligned to a cluster");
        else if (entries > L1EntryLimit)
            result.Error(CheckSubject.SnapshotTable, at, $"L1 table of snapshot {index} has {entries} entries, more than {L1EntryLimit}");
        else
            return tables.AddL1Async(l1, entries, active: false);
        return new LoopTask<int>(0);
    }
}
