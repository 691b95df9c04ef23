using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>
/// A bitmap directory that is being changed. What is not changed stays byte for byte: names that are not text, extra data.
/// </summary>
internal sealed class BitmapDirectoryBytes
{
    private readonly int _clusterSize;
    private readonly string _path;
    private List<BitmapEntry> _entries;

    /// <param name="bytes">a directory; empty for none</param>
    /// <param name="count">bitmaps in it</param>
    /// <param name="clusterSize">of the image</param>
    /// <param name="path">of the image, for messages</param>
    /// <exception cref="ImageFormatException">it is damaged</exception>
    public BitmapDirectoryBytes(ReadOnlySpan<byte> bytes, int count, int clusterSize, string path)
    {
        (_clusterSize, _path) = (clusterSize, path);
        Bytes = bytes.ToArray();
        _entries = [.. BitmapDirectory.Parse(bytes, count, clusterSize, path)];
    }

    public byte[] Bytes { get; private set; }

    public IReadOnlyList<BitmapEntry> Entries => _entries;

    /// <summary>One of its own, to be changed without this one.</summary>
    public BitmapDirectoryBytes Copy() => new(Bytes, Entries.Count, _clusterSize, _path);

    /// <returns>its index; -1 if there is none of that name</returns>
    public int Find(string name)
    {
        var bytes = Encoding.UTF8.GetBytes(name);
        var likely = -1;
        for (var index = 0; index < Entries.Count; index++)
        {
            if (NameOf(index).SequenceEqual(bytes))
                return index;
            // What is not text goes by the name that is shown for it.
            if (Entries[index].Name == name)
                likely = index;
        }

        return likely;
    }

    public void SetFlags(int index, BitmapFlags flags)
    {
        BinaryPrimitives.WriteUInt32BigEndian(Bytes.AsSpan(Entries[index].EntryOffset + BitmapEntry.FlagsField), (uint)flags);
        _entries[index] = Entries[index] with { Flags = flags };
    }

    public void SetTable(int index, HostOffset table)
    {
        BinaryPrimitives.WriteInt64BigEndian(Bytes.AsSpan(Entries[index].EntryOffset), table.Value);
        _entries[index] = Entries[index] with { TableOffset = table };
    }

    /// <summary>Lets an entry have a table of another size.</summary>
    public void SetTable(int index, HostOffset table, int tableSize)
    {
        BinaryPrimitives.WriteInt32BigEndian(Bytes.AsSpan(Entries[index].EntryOffset + 8), tableSize);
        _entries[index] = Entries[index] with { TableSize = tableSize };
        SetTable(index, table);
    }

    public void Remove(int index)
    {
        var start = Entries[index].EntryOffset;
        var end = EndOf(index);
        Bytes = [.. Bytes.AsSpan(0, start), .. Bytes.AsSpan(end)];
        Parse(Entries.Count - 1);
    }

    /// <summary>Adds a dirty tracking bitmap behind the others.</summary>
    public void Add(string name, BitmapFlags flags, int granularityBits, HostOffset table, int tableSize)
    {
        var nameBytes = Encoding.UTF8.GetBytes(name);
        var entry = new byte[Padded(BitmapDirectory.MinEntryLength + nameBytes.Length)];
        BinaryPrimitives.WriteInt64BigEndian(entry, table.Value);
        BinaryPrimitives.WriteInt32BigEndian(entry.AsSpan(8), tableSize);
        BinaryPrimitives.WriteUInt32BigEndian(entry.AsSpan(BitmapEntry.FlagsField), (uint)flags);
        entry[16] = BitmapDirectory.DirtyTrackingType;
        entry[17] = (byte)granularityBits;
        BinaryPrimitives.WriteUInt16BigEndian(entry.AsSpan(18), (ushort)nameBytes.Length);
        nameBytes.CopyTo(entry.AsSpan(BitmapDirectory.MinEntryLength));
        Bytes = [.. Bytes, .. new byte[Padded(Bytes.Length) - Bytes.Length], .. entry];
        Parse(Entries.Count + 1);
    }

    private ReadOnlySpan<byte> NameOf(int index)
    {
        var entry = Bytes.AsSpan(Entries[index].EntryOffset);
        var length = BinaryPrimitives.ReadUInt16BigEndian(entry[18..]);
        return entry.Slice(BitmapDirectory.MinEntryLength + Entries[index].ExtraDataSize, length);
    }

    private int EndOf(int index) => index + 1 < Entries.Count ? Entries[index + 1].EntryOffset : Bytes.Length;

    private void Parse(int count) => _entries = [.. BitmapDirectory.Parse(Bytes, count, _clusterSize, _path)];

    private static int Padded(int length) => (length + 7) & ~7;
}
