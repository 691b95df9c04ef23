using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using System.Text.Unicode;

namespace Qcow2Blk.Format;

/// <summary>The bitmap directory (specification, "Bitmap directory"): entries of variable length, each padded to 8 bytes.</summary>
internal static class BitmapDirectory
{
    /// <summary>Bytes of an entry before its extra data and name.</summary>
    public const int MinEntryLength = 24;

    /// <summary>Byte 16 of an entry: "dirty tracking bitmap".</summary>
    public const byte DirtyTrackingType = 1;

    /// <summary>Parses the directory.</summary>
    /// <param name="directory">its <see cref="BitmapsExtension.DirectorySize"/> bytes</param>
    /// <param name="extension">the header extension that points to it</param>
    /// <param name="header">of the image, for the cluster size and messages</param>
    /// <exception cref="ImageFormatException">an entry is cut off, breaks a limit, or there are more or fewer than the extension
    /// says</exception>
    public static IReadOnlyList<BitmapEntry> Parse(ReadOnlySpan<byte> directory, BitmapsExtension extension, Header header) =>
        Parse(directory, extension.NumberOfBitmaps, header.ClusterSize, header.Path);

    /// <summary>The same from the bare numbers.</summary>
    public static IReadOnlyList<BitmapEntry> Parse(ReadOnlySpan<byte> directory, int count, int clusterSize, string path)
    {
        var entries = new List<BitmapEntry>();
        var reader = new BitmapDirectoryReader(directory, count, clusterSize, path);
        while (reader.TryRead() is { } entry)
            entries.Add(entry);
        return entries.AsReadOnly();
    }

    internal static BitmapEntry ParseEntry(
        ReadOnlySpan<byte> directory, int offset, int number, int clusterSize, string path, out int length)
    {
        var entry = directory[offset..];
        if (entry.Length < MinEntryLength)
            throw Bad(path, $"bitmap directory entry {number} ends past the directory ({directory.Length} bytes)");
        var tableOffset = BinaryPrimitives.ReadUInt64BigEndian(entry);
        var tableSize = BinaryPrimitives.ReadUInt32BigEndian(entry[8..]);
        var flags = BinaryPrimitives.ReadUInt32BigEndian(entry[BitmapEntry.FlagsField..]);
        int granularityBits = entry[17];
        int nameLength = BinaryPrimitives.ReadUInt16BigEndian(entry[18..]);
        var extraLength = BinaryPrimitives.ReadUInt32BigEndian(entry[20..]);

        if (extraLength > (uint)(entry.Length - MinEntryLength) || nameLength > entry.Length - MinEntryLength - (int)extraLength)
            throw Bad(path, $"bitmap directory entry {number} ends past the directory ({directory.Length} bytes)");
        if (nameLength is 0 or > Limits.MaxBitmapNameLength)
            throw Bad(path, $"bitmap directory entry {number}: name_size {nameLength} is not in 1..{Limits.MaxBitmapNameLength}");
        if ((flags & ~(uint)BitmapFlags.Known) != 0)
            throw Bad(path, $"bitmap directory entry {number}: reserved bits are set in flags 0x{flags:x}");
        if (granularityBits is < Limits.MinBitmapGranularityBits or > Limits.MaxBitmapGranularityBits)
        {
            throw Bad(path,
                $"bitmap directory entry {number}: granularity_bits {granularityBits} is not in"
                    + $" {Limits.MinBitmapGranularityBits}..{Limits.MaxBitmapGranularityBits}");
        }

        if (tableSize is 0 or > Limits.MaxBitmapTableEntries)
            throw Bad(path, $"bitmap directory entry {number}: bitmap_table_size {tableSize} is not in 1..{Limits.MaxBitmapTableEntries}");
        if (tableOffset == 0 || tableOffset >= Limits.MaxHostOffset || tableOffset % (uint)clusterSize != 0)
        {
            throw Bad(path,
                $"bitmap directory entry {number}: bitmap_table_offset 0x{tableOffset:x} is invalid (cluster size {clusterSize})");
        }

        var name = MinEntryLength + (int)extraLength;
        length = name + nameLength;
        return new BitmapEntry
        {
            Name = NameOf(entry.Slice(name, nameLength)),
            Flags = (BitmapFlags)flags,
            Type = entry[16],
            GranularityBits = granularityBits,
            TableOffset = new HostOffset((long)tableOffset),
            TableSize = (int)tableSize,
            ExtraDataSize = (int)extraLength,
            EntryOffset = offset,
        };
    }

    /// <summary>Names are bytes that nothing promises to be UTF-8: qemu writes what it was given.</summary>
    private static string NameOf(ReadOnlySpan<byte> bytes) =>
        Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : Printable.Escape(bytes);

    internal static ImageFormatException Bad(string path, string message) => new(path, "bitmap_directory", message);
}
