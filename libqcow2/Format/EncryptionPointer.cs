using System;
using System.Buffers.Binary;

namespace Qcow2Blk.Format;

/// <summary>The full disk encryption header pointer (specification, chapter of that name): where the LUKS header is.</summary>
/// <param name="Offset">bytes 0 to 7: where the encryption header starts, cluster aligned</param>
/// <param name="Length">bytes 8 to 15: its bytes, whole clusters or not</param>
internal sealed record EncryptionPointer(HostOffset Offset, long Length)
{
    /// <summary>Bytes of the extension's data.</summary>
    public const int DataLength = 16;

    internal static EncryptionPointer Parse(ReadOnlySpan<byte> data, int clusterSize, string path)
    {
        if (data.Length != DataLength)
            throw Bad(path, "header_extension", $"full disk encryption header extension has {data.Length} bytes, must have {DataLength}");
        var offset = BinaryPrimitives.ReadUInt64BigEndian(data);
        var length = BinaryPrimitives.ReadUInt64BigEndian(data[8..]);
        if (offset >= Limits.MaxHostOffset || offset % (uint)clusterSize != 0)
        {
            throw Bad(path, "encryption_header_offset",
                $"encryption header offset 0x{offset:x} is invalid (cluster size {clusterSize})");
        }

        if (length > Limits.MaxHostOffset - offset)
            throw Bad(path, "encryption_header_length", $"encryption header at 0x{offset:x} is too long: {length} bytes");
        return new EncryptionPointer(new HostOffset((long)offset), (long)length);
    }

    internal byte[] Encode()
    {
        var data = new byte[DataLength];
        BinaryPrimitives.WriteInt64BigEndian(data, Offset.Value);
        BinaryPrimitives.WriteInt64BigEndian(data.AsSpan(8), Length);
        return data;
    }

    private static ImageFormatException Bad(string path, string field, string message) => new(path, field, message);
}
