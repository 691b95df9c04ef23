using System;
using System.Buffers.Binary;

namespace Qcow2Blk.Format;

/// <summary>The full disk encryption header pointer (specification): where the LUKS header is.</summary>
/// <param name="Offset">bytes 0 to 7: where it starts in the image file, cluster aligned</param>
/// <param name="Bytes">bytes 8 to 15: its length, key material included</param>
internal sealed record EncryptionPointer(HostOffset Offset, long Bytes)
{
    /// <summary>Bytes of the extension's data.</summary>
    public const int Length = 16;

    internal static EncryptionPointer Parse(ReadOnlySpan<byte> data, int clusterSize, string path)
    {
        if (data.Length != Length)
        {
            throw new ImageFormatException(path, "header_extension",
                $"full disk encryption header extension has {data.Length} bytes, must have {Length}");
        }

        var offset = BinaryPrimitives.ReadUInt64BigEndian(data);
        var length = BinaryPrimitives.ReadUInt64BigEndian(data[8..]);
        if (offset == 0 || offset >= Limits.MaxHostOffset || offset % (uint)clusterSize != 0)
        {
            throw new ImageFormatException(path, "encryption_header_offset",
                $"encryption header offset 0x{offset:x} is invalid (cluster size {clusterSize})");
        }

        if (length is < LuksHeader.Length or > LuksHeader.MaxBytes)
        {
            throw new ImageFormatException(path, "encryption_header_length",
                $"encryption header length {length} is not in {LuksHeader.Length}..{LuksHeader.MaxBytes}");
        }

        return new EncryptionPointer(new HostOffset((long)offset), (long)length);
    }

    /// <summary>What a header extension holds.</summary>
    public byte[] ToBytes()
    {
        var data = new byte[Length];
        BinaryPrimitives.WriteInt64BigEndian(data, Offset.Value);
        BinaryPrimitives.WriteInt64BigEndian(data.AsSpan(8), Bytes);
        return data;
    }
}
