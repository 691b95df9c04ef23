using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>The snapshot table as bytes to be written: entries stay as they are, with all their extra data.</summary>
internal static class SnapshotTableBytes
{
    /// <summary>64-bit size of the VM state, size of the disk, instruction count.</summary>
    private const int KnownExtra = 24;

    private const int VmStateField = 32;
    private const int ExtraSizeField = 36;

    /// <summary>The entries of a table, each as it is stored.</summary>
    /// <param name="table">that was parsed</param>
    /// <param name="entries">what was found in it</param>
    /// <param name="bytes">where it ends</param>
    /// <param name="diskSize">of an entry that does not say it: bytes of the disk, which then never changed</param>
    public static List<byte[]> Split(ReadOnlySpan<byte> table, IReadOnlyList<SnapshotEntry> entries, int bytes, long diskSize)
    {
        var split = new List<byte[]>(entries.Count + 1);
        for (var i = 0; i < entries.Count; i++)
        {
            var raw = table[entries[i].EntryOffset..(i + 1 < entries.Count ? entries[i + 1].EntryOffset : bytes)];
            split.Add(WithKnownExtra(raw[..LengthOf(raw)], diskSize));
        }

        return split;
    }

    /// <summary>One table of these entries: each begins at a multiple of 8 bytes.</summary>
    /// <returns>null if it would be larger than a table may be</returns>
    public static byte[]? Join(IReadOnlyList<byte[]> entries)
    {
        long length = 0;
        foreach (var entry in entries)
            length = Rounding.Up(length, 8) + entry.Length;
        if (length > Limits.MaxSnapshotTableBytes)
            return null;
        var table = new byte[length];
        var position = 0;
        foreach (var entry in entries)
        {
            position = (int)Rounding.Up(position, 8);
            entry.CopyTo(table, position);
            position += entry.Length;
        }

        return table;
    }

    /// <summary>The entry of a snapshot without VM state.</summary>
    /// <param name="l1">where its L1 table is</param>
    /// <param name="l1Size">entries of that</param>
    /// <param name="id">as <see cref="NextId"/> gives it</param>
    /// <param name="name">at most 65535 bytes</param>
    /// <param name="taken">when</param>
    /// <param name="diskSize">bytes of the disk</param>
    public static byte[] Encode(HostOffset l1, int l1Size, string id, string name, DateTimeOffset taken, long diskSize)
    {
        var idBytes = Encoding.UTF8.GetBytes(id);
        var nameBytes = Encoding.UTF8.GetBytes(name);
        var entry = new byte[SnapshotTable.MinEntryLength + KnownExtra + idBytes.Length + nameBytes.Length];
        var span = entry.AsSpan();
        BinaryPrimitives.WriteInt64BigEndian(span, l1.Value);
        BinaryPrimitives.WriteInt32BigEndian(span[8..], l1Size);
        BinaryPrimitives.WriteUInt16BigEndian(span[12..], checked((ushort)idBytes.Length));
        BinaryPrimitives.WriteUInt16BigEndian(span[14..], checked((ushort)nameBytes.Length));
        BinaryPrimitives.WriteUInt32BigEndian(span[16..], (uint)taken.ToUnixTimeSeconds());
        BinaryPrimitives.WriteUInt32BigEndian(span[20..], (uint)(taken.Ticks % TimeSpan.TicksPerSecond * 100));
        BinaryPrimitives.WriteInt32BigEndian(span[ExtraSizeField..], KnownExtra);
        BinaryPrimitives.WriteInt64BigEndian(span[(SnapshotTable.MinEntryLength + 8)..], diskSize);

        // No instructions were counted.
        BinaryPrimitives.WriteUInt64BigEndian(span[(SnapshotTable.MinEntryLength + 16)..], ulong.MaxValue);
        idBytes.CopyTo(span[(SnapshotTable.MinEntryLength + KnownExtra)..]);
        nameBytes.CopyTo(span[(SnapshotTable.MinEntryLength + KnownExtra + idBytes.Length)..]);
        return entry;
    }

    /// <summary>As qemu: one more than the largest there is.</summary>
    public static string NextId(IReadOnlyList<SnapshotEntry> entries)
    {
        ulong largest = 0;
        foreach (var entry in entries)
            largest = Math.Max(largest, LeadingNumber(entry.Id));
        return (largest == ulong.MaxValue ? largest : largest + 1).ToString(System.Globalization.CultureInfo.InvariantCulture);
    }

    private static ulong LeadingNumber(string id)
    {
        ulong value = 0;
        foreach (var character in id)
        {
            if (!char.IsAsciiDigit(character))
                break;
            var digit = (ulong)(character - '0');
            if (value > (ulong.MaxValue - digit) / 10)
                return ulong.MaxValue;
            value = (value * 10) + digit;
        }

        return value;
    }

    private static int LengthOf(ReadOnlySpan<byte> entry) => SnapshotTable.MinEntryLength
        + BinaryPrimitives.ReadInt32BigEndian(entry[ExtraSizeField..])
        + BinaryPrimitives.ReadUInt16BigEndian(entry[12..])
        + BinaryPrimitives.ReadUInt16BigEndian(entry[14..]);

    /// <summary>Version 3 needs what old entries do not have; qemu writes it for all of them.</summary>
    private static byte[] WithKnownExtra(ReadOnlySpan<byte> entry, long diskSize)
    {
        var extra = BinaryPrimitives.ReadInt32BigEndian(entry[ExtraSizeField..]);
        if (extra >= KnownExtra)
            return entry.ToArray();
        var longer = new byte[entry.Length + KnownExtra - extra];
        var span = longer.AsSpan();
        entry[..SnapshotTable.MinEntryLength].CopyTo(span);
        BinaryPrimitives.WriteInt32BigEndian(span[ExtraSizeField..], KnownExtra);
        var known = span[SnapshotTable.MinEntryLength..];
        BinaryPrimitives.WriteUInt64BigEndian(known, BinaryPrimitives.ReadUInt32BigEndian(entry[VmStateField..]));
        BinaryPrimitives.WriteInt64BigEndian(known[8..], diskSize);
        BinaryPrimitives.WriteUInt64BigEndian(known[16..], ulong.MaxValue);

        // A field that is there in part only is not there.
        entry.Slice(SnapshotTable.MinEntryLength, extra / sizeof(ulong) * sizeof(ulong)).CopyTo(known);
        entry[(SnapshotTable.MinEntryLength + extra)..].CopyTo(known[KnownExtra..]);
        return longer;
    }
}
