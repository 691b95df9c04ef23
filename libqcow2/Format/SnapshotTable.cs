using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>The snapshot table (specification, "Snapshots"): entries of variable length, each padded to 8 bytes.</summary>
internal static class SnapshotTable
{
    /// <summary>Bytes of an entry before its extra data, ID and name.</summary>
    public const int MinEntryLength = 40;

    /// <summary>How much of a file can belong to a table: what to read before <see cref="Parse"/>.</summary>
    /// <returns>bytes from <paramref name="offset"/>, never more than the file has or the limits allow</returns>
    public static int MaxBytes(int count, HostOffset offset, long fileLength)
    {
        const long maxEntry = MinEntryLength + Limits.MaxSnapshotExtraBytes + 2 * ushort.MaxValue + 8;
        var inFile = Math.Max(fileLength - offset.Value, 0);
        return (int)Math.Min(Math.Min(count * maxEntry, Limits.MaxSnapshotTableBytes), inFile);
    }

    /// <summary>Parses the table of <paramref name="count"/> snapshots.</summary>
    /// <param name="table">at least the table; what follows it is ignored</param>
    /// <param name="count">the header's nb_snapshots</param>
    /// <param name="path">the image's path, for messages</param>
    /// <param name="bytesUsed">bytes of the table, without padding after the last entry</param>
    /// <exception cref="ImageFormatException">an entry is cut off or breaks a limit</exception>
    public static IReadOnlyList<SnapshotEntry> Parse(ReadOnlySpan<byte> table, int count, string path, out int bytesUsed)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, Limits.MaxSnapshots);
        var entries = new List<SnapshotEntry>();
        var end = 0;
        for (var number = 0; number < count; number++)
        {
            // Padding up to the next entry; none is needed after the last, so the table may end without it.
            var offset = (end + 7) & ~7;
            entries.Add(ParseEntry(table, offset, number, path, out end));
            if (end > Limits.MaxSnapshotTableBytes)
                throw Bad(path, $"snapshot table is too big: more than {Limits.MaxSnapshotTableBytes} bytes at entry {number} of {count}");
        }

        bytesUsed = end;
        return entries.AsReadOnly();
    }

    private static SnapshotEntry ParseEntry(ReadOnlySpan<byte> table, int offset, int number, string path, out int end)
    {
        if (table.Length - offset < MinEntryLength)
            throw CutOff(path, number, table.Length);
        var entry = table[offset..];

        var l1Offset = BinaryPrimitives.ReadUInt64BigEndian(entry);
        var l1Size = BinaryPrimitives.ReadUInt32BigEndian(entry[8..]);
        int idLength = BinaryPrimitives.ReadUInt16BigEndian(entry[12..]);
        int nameLength = BinaryPrimitives.ReadUInt16BigEndian(entry[14..]);
        var extraLength = BinaryPrimitives.ReadUInt32BigEndian(entry[36..]);
        if (extraLength > Limits.MaxSnapshotExtraBytes)
        {
            throw Bad(path,
                $"snapshot table entry {number}: extra_data_size {extraLength} is too large, at most {Limits.MaxSnapshotExtraBytes}");
        }

        if (l1Size > Limits.MaxL1Entries)
            throw Bad(path, $"snapshot table entry {number}: l1_size {l1Size} is too large, at most {Limits.MaxL1Entries} entries");
        if (l1Offset >= Limits.MaxHostOffset)
            throw Bad(path, $"snapshot table entry {number}: l1_table_offset 0x{l1Offset:x} is too large, host offsets have 56 bits");
        var length = MinEntryLength + (int)extraLength + idLength + nameLength;
        if (entry.Length < length)
            throw CutOff(path, number, table.Length);

        var extra = entry.Slice(MinEntryLength, (int)extraLength);
        var strings = entry[(MinEntryLength + (int)extraLength)..length];
        var icount = ExtraField(extra, 16);
        end = offset + length;
        return new SnapshotEntry
        {
            Id = Encoding.UTF8.GetString(strings[..idLength]),
            Name = Encoding.UTF8.GetString(strings[idLength..]),
            L1TableOffset = new HostOffset((long)l1Offset),
            L1Size = (int)l1Size,
            DateSeconds = BinaryPrimitives.ReadUInt32BigEndian(entry[16..]),
            DateNanoseconds = BinaryPrimitives.ReadUInt32BigEndian(entry[20..]),
            VmClockNanoseconds = BinaryPrimitives.ReadUInt64BigEndian(entry[24..]),
            VmStateSize = ExtraField(extra, 0) ?? BinaryPrimitives.ReadUInt32BigEndian(entry[32..]),
            DiskSize = ExtraField(extra, 8),
            // qemu stores -1 when it does not record.
            Icount = icount == ulong.MaxValue ? null : icount,
            EntryOffset = offset,
        };
    }

    private static ulong? ExtraField(ReadOnlySpan<byte> extra, int offset) =>
        extra.Length >= offset + 8 ? BinaryPrimitives.ReadUInt64BigEndian(extra[offset..]) : null;

    private static ImageFormatException CutOff(string path, int number, int length) =>
        Bad(path, $"snapshot table entry {number} ends past the table's space ({length} bytes)");

    private static ImageFormatException Bad(string path, string message) => new(path, "snapshot_table", message);
}
