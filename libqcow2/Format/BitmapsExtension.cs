using System;
using System.Buffers.Binary;

namespace Qcow2Blk.Format;

/// <summary>The bitmaps extension (specification, "Bitmaps extension"): where the bitmap directory is.</summary>
/// <param name="NumberOfBitmaps">bytes 0 to 3: bitmaps in the image, 1 to 65535</param>
/// <param name="DirectorySize">bytes 8 to 15: size of the bitmap directory in bytes</param>
/// <param name="DirectoryOffset">bytes 16 to 23: where the bitmap directory starts, cluster aligned</param>
internal sealed record BitmapsExtension(int NumberOfBitmaps, int DirectorySize, HostOffset DirectoryOffset)
{
    /// <summary>Bytes of the extension's data; bytes 4 to 7 are reserved and must be zero.</summary>
    public const int Length = 24;

    internal static BitmapsExtension Parse(ReadOnlySpan<byte> data, int clusterSize, string path)
    {
        if (data.Length != Length)
            throw Bad(path, "length", $"bitmaps extension has {data.Length} bytes, must have {Length}");

        var count = BinaryPrimitives.ReadUInt32BigEndian(data);
        var reserved = BinaryPrimitives.ReadUInt32BigEndian(data[4..]);
        var size = BinaryPrimitives.ReadUInt64BigEndian(data[8..]);
        var offset = BinaryPrimitives.ReadUInt64BigEndian(data[16..]);

        if (reserved != 0)
            throw Bad(path, "reserved", $"reserved field of the bitmaps extension is 0x{reserved:x}, must be 0");
        if (count is 0 or > Limits.MaxBitmaps)
            throw Bad(path, "nb_bitmaps", $"nb_bitmaps {count} is not in 1..{Limits.MaxBitmaps}");
        if (size is 0 or > Limits.MaxBitmapDirectoryBytes)
        {
            throw Bad(path, "bitmap_directory_size",
                $"bitmap_directory_size {size} is not in 1..{Limits.MaxBitmapDirectoryBytes}");
        }

        if (offset == 0 || offset >= Limits.MaxHostOffset || offset % (uint)clusterSize != 0)
        {
            throw Bad(path, "bitmap_directory_offset",
                $"bitmap_directory_offset 0x{offset:x} is invalid (cluster size {clusterSize})");
        }

        return new BitmapsExtension((int)count, (int)size, new HostOffset((long)offset));
    }

    internal byte[] Encode()
    {
        var data = new byte[Length];
        BinaryPrimitives.WriteInt32BigEndian(data, NumberOfBitmaps);
        BinaryPrimitives.WriteInt64BigEndian(data.AsSpan(8), DirectorySize);
        BinaryPrimitives.WriteInt64BigEndian(data.AsSpan(16), DirectoryOffset.Value);
        return data;
    }

    private static ImageFormatException Bad(string path, string field, string message) => new(path, field, message);
}
