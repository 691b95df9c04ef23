using System;
using System.Buffers.Binary;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Image;

/// <summary>Where the metadata of a small image lies, by the letter of the specification: to damage it, and to look at it.</summary>
internal static class Metadata
{
    private const ulong OffsetMask = 0x00FFFFFFFFFFFE00;

    public static long L1Table(this SparseBytes image) => (long)image.U64(HeaderField.L1TableOffset);

    public static long RefcountTable(this SparseBytes image) => (long)image.U64(HeaderField.RefcountTableOffset);

    public static long L2Table(this SparseBytes image, int index = 0) => (long)(image.U64(image.L1Table() + (index * 8L)) & OffsetMask);

    public static long RefcountBlock(this SparseBytes image, int index = 0) =>
        (long)(image.U64(image.RefcountTable() + (index * 8L)) & OffsetMask);

    /// <summary>The host cluster of one of the first guest clusters.</summary>
    public static long DataCluster(this SparseBytes image, int cluster) => (long)(image.U64(image.L2Table() + (cluster * 8L)) & OffsetMask);

    public static bool IsMarkedCorrupt(this SparseBytes image) => (image.U64(HeaderField.IncompatibleFeatures) & 2) != 0;

    /// <summary>A 16-bit refcount out of the first block.</summary>
    public static int Refcount(this SparseBytes image, long cluster) =>
        BinaryPrimitives.ReadUInt16BigEndian(image.Bytes(image.RefcountBlock() + (cluster * 2), 2));

    public static void SetRefcount(this SparseBytes image, long cluster, ushort value)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, value);
        image.Write(image.RefcountBlock() + (cluster * 2), bytes);
    }

    public static ulong U64(this SparseBytes image, long offset) => BinaryPrimitives.ReadUInt64BigEndian(image.Bytes(offset, 8));

    public static void Put64(this SparseBytes image, long offset, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        image.Write(offset, bytes);
    }

    public static byte[] Bytes(this SparseBytes image, long offset, int length)
    {
        var bytes = new byte[length];
        image.Read(offset, bytes);
        return bytes;
    }
}
