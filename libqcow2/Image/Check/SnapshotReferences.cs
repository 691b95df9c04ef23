using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>Reads the snapshot table of an image under check, which need not be sound.</summary>
internal sealed class SnapshotReferences(ImageUnderCheck image, CheckMode mode)
{
    /// <summary>Version 3 needs the 64-bit size of the VM state and the size of the disk.</summary>
    private const uint ExtraDataNeeded = 16;

    private readonly List<SnapshotPlace> _entries = [];

    /// <summary>The entries that are kept, in the order of the table.</summary>
    public IReadOnlyList<SnapshotPlace> Entries => _entries;

    /// <summary>What is wrong with the table itself, and goes away when it is written anew.</summary>
    public long Errors { get; private set; }

    /// <summary>Snapshots at the end of the table that are more than anybody reads: a repair drops them.</summary>
    public long Dropped { get; private set; }

    public long Offset { get; private set; }

    /// <summary>Bytes of the table.</summary>
    public long Length { get; private set; }

    /// <summary>Where an entry is and what it has.</summary>
    /// <param name="Offset">of the entry in the file</param>
    /// <param name="Extra">bytes of extra data</param>
    /// <param name="Names">bytes of ID and name</param>
    internal readonly record struct SnapshotPlace(long Offset, uint Extra, int Names, long L1Offset, uint L1Entries)
    {
        public long Length => SnapshotTable.MinEntryLength + (long)Extra + Names;
    }

    /// <summary>Reads the table. Nothing is counted yet.</summary>
    public async LoopTask<int> ReadAsync()
    {
        using var buffer = new TableBuffer(SnapshotTable.MinEntryLength);
        var error = await buffer.ReadAsync(image.File, HeaderField.SnapshotCount, 12);
        if (error < 0)
            return error;
        long count = BinaryPrimitives.ReadUInt32BigEndian(buffer.Span);
        var offset = BinaryPrimitives.ReadUInt64BigEndian(buffer.Span[4..]);
        if (count > Limits.MaxSnapshots)
        {
            if (mode != CheckMode.All)
            {
                image.Result.Stop($"nb_snapshots {count} is too large, at most {Limits.MaxSnapshots}");
                return 0;
            }

            Dropped = count - Limits.MaxSnapshots;
            count = Limits.MaxSnapshots;
        }

        if ((ulong)(long.MaxValue - count * SnapshotTable.MinEntryLength) < offset || (offset & (ulong)image.ClusterMask) != 0)
        {
            image.Result.Stop($"snapshots_offset 0x{offset:x} is invalid");
            return 0;
        }

        Offset = (long)offset;
        return await ReadEntriesAsync(buffer, count);
    }

    /// <summary>Counts what was read, and hands on the L1 tables.</summary>
    public void CountReferences(L1Tables tables)
    {
        if (_entries.Count > 0 && image.Rules.HasDataFile)
            image.Result.Error(CheckSubject.SnapshotTable, Offset, $"there are {_entries.Count} snapshots in an image with a data file");
        for (var index = 0; index < _entries.Count; index++)
        {
            var entry = _entries[index];
            if ((entry.L1Offset & image.ClusterMask) != 0)
            {
                image.Result.Error(CheckSubject.SnapshotTable, entry.Offset,
                    $"snapshot table entry {index}: L1 table 0x{entry.L1Offset:x} is not aligned to a cluster");
            }
            else if (entry.L1Entries > Limits.MaxL1Entries)
            {
                image.Result.Error(CheckSubject.SnapshotTable, entry.Offset,
                    $"snapshot table entry {index}: l1_size {entry.L1Entries} is too large, at most {Limits.MaxL1Entries}");
            }
            else if (entry.L1Entries > 0 && entry.L1Offset < 0)
            {
                image.Result.Stop($"snapshot table entry {index}: l1_table_offset 0x{entry.L1Offset:x} is too large");
            }
            else
            {
                tables.AddSnapshot(entry.L1Offset, (int)entry.L1Entries);
            }
        }
    }

    private async LoopTask<int> ReadEntriesAsync(TableBuffer buffer, long count)
    {
        var (position, kept) = (Offset, 0L);
        for (var index = 0; index < count; index++)
        {
            position = Rounding.Up(position, 8);
            var error = await buffer.ReadAsync(image.File, position, SnapshotTable.MinEntryLength);
            if (error < 0)
                return error;
            var entry = Place(buffer.Span, position);
            var isLong = entry.Extra > Limits.MaxSnapshotExtraBytes;
            if (isLong && mode != CheckMode.All)
            {
                image.Result.Stop($"snapshot table entry {index}: extra_data_size {entry.Extra} is too large,"
                    + $" at most {Limits.MaxSnapshotExtraBytes}; --repair all removes it");
                return 0;
            }

            kept = Rounding.Up(kept, 8) + entry.Length - (isLong ? entry.Extra - Limits.MaxSnapshotExtraBytes : 0);
            if (kept > Limits.MaxSnapshotTableBytes || position + entry.Length - Offset > int.MaxValue)
            {
                Dropped += count - index;
                if (mode != CheckMode.All)
                {
                    image.Result.Stop($"the snapshot table is too big: more than {Limits.MaxSnapshotTableBytes} bytes at entry {index}"
                        + $" of {count}");
                }

                break;
            }

            Judge(entry, index, isLong);
            _entries.Add(entry);
            position += entry.Length;
        }

        Length = position - Offset;
        return 0;
    }

    private void Judge(in SnapshotPlace entry, int index, bool isLong)
    {
        if (isLong)
            Error(entry, $"snapshot table entry {index} has {entry.Extra} bytes of extra data, more than {Limits.MaxSnapshotExtraBytes}");
        if (image.Header.Version >= 3 && entry.Extra < ExtraDataNeeded)
            Error(entry, $"snapshot table entry {index} has {entry.Extra} bytes of extra data, less than {ExtraDataNeeded}");
    }

    private void Error(in SnapshotPlace entry, string message)
    {
        Errors++;
        image.Result.Error(CheckSubject.SnapshotTable, entry.Offset, message);
    }

    private static SnapshotPlace Place(ReadOnlySpan<byte> entry, long offset) => new(offset,
        BinaryPrimitives.ReadUInt32BigEndian(entry[36..]),
        BinaryPrimitives.ReadUInt16BigEndian(entry[12..]) + BinaryPrimitives.ReadUInt16BigEndian(entry[14..]),
        BinaryPrimitives.ReadInt64BigEndian(entry),
        BinaryPrimitives.ReadUInt32BigEndian(entry[8..]));
}
