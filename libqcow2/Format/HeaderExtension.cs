using System;
using System.Buffers.Binary;
using System.Collections.Generic;

namespace Qcow2Blk.Format;

/// <summary>One header extension (specification, "Header extensions"), known or not.</summary>
/// <param name="Type">what it is: one of the constants here, or unknown and then kept as it is</param>
/// <param name="Offset">position in the file of the extension's type field; its data follows 8 bytes later</param>
/// <param name="Data">the data without the padding to 8 bytes</param>
internal sealed record HeaderExtension(uint Type, int Offset, byte[] Data)
{
    /// <summary>End of the header extension area.</summary>
    public const uint End = 0;

    /// <summary>Backing file format name, not NUL terminated.</summary>
    public const uint BackingFormat = 0xe2792aca;

    /// <summary>Feature name table.</summary>
    public const uint FeatureNameTable = 0x6803f857;

    /// <summary>Bitmaps extension.</summary>
    public const uint Bitmaps = 0x23852875;

    /// <summary>Full disk encryption header pointer.</summary>
    public const uint FullDiskEncryption = 0x0537be77;

    /// <summary>External data file name, not NUL terminated.</summary>
    public const uint ExternalDataFile = 0x44415441;

    /// <summary>Bytes before the data: type and length, 4 each.</summary>
    public const int PrefixLength = 8;

    /// <summary>Whether it is one of the types above.</summary>
    public bool IsKnown => Type is BackingFormat or FeatureNameTable or Bitmaps or FullDiskEncryption or ExternalDataFile;

    /// <summary>
    /// Reads extensions from <paramref name="from"/> up to the end marker or <paramref name="end"/>. What lies past
    /// <paramref name="start"/> is past the file's end and counts as zeroes, which is an end marker.
    /// </summary>
    /// <returns>null, or what is wrong; <paramref name="found"/> holds what came before</returns>
    internal static string? Scan(ReadOnlySpan<byte> start, int from, int end, List<HeaderExtension> found)
    {
        var offset = from;
        while (offset < end && start.Length - offset >= PrefixLength)
        {
            var type = BinaryPrimitives.ReadUInt32BigEndian(start[offset..]);
            var length = BinaryPrimitives.ReadUInt32BigEndian(start[(offset + 4)..]);
            var room = Math.Min(end, start.Length) - offset - PrefixLength;
            if (room < 0 || length > (uint)room)
                return $"header extension 0x{type:x8} at 0x{offset:x} is too large: {length} bytes, {Math.Max(room, 0)} left";
            // After the length check, as in qemu: an end marker with an absurd length is damage.
            if (type == End)
                return null;
            // Specification: "each header extension type shall appear at most once in the same image".
            if (found.Exists(extension => extension.Type == type))
                return $"header extension 0x{type:x8} at 0x{offset:x} appears twice";
            var data = offset + PrefixLength;
            found.Add(new HeaderExtension(type, offset, start.Slice(data, (int)length).ToArray()));
            offset = data + (int)((length + 7) & ~7u);
        }

        return null;
    }
}
