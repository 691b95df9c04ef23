using System;
using System.Buffers.Binary;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>Harms the metadata of a sound image in one place.</summary>
internal static class Damage
{
    private const ulong OffsetMask = 0x00FFFFFFFFFFFE00;

    /// <returns>what was done, for the message of a failing test</returns>
    public static string Apply(byte[] image, Random random)
    {
        var clusterSize = 1 << (int)U32(image, 20);
        var l1 = (int)U64(image, 40);
        var refcountTable = (int)U64(image, 48);
        switch (random.Next(7))
        {
            case 0:
                return Patch(image, l1 + 8 * random.Next((int)U32(image, 36)), random);
            case 1:
                return Patch(image, refcountTable, random);
            case 2:
            case 3:
                return PatchInside(image, (int)U64(image, refcountTable), clusterSize, random);
            default:
                // The L2 table of the first MiB or so: with data, zero and compressed clusters.
                var table = (int)(U64(image, l1) & OffsetMask);
                return table == 0 ? PatchInside(image, (int)U64(image, refcountTable), clusterSize, random)
                    : PatchEntry(image, table, clusterSize, random);
        }
    }

    /// <summary>Changes one byte of what a refcount block says of clusters that are in the file.</summary>
    private static string PatchInside(byte[] image, int block, int clusterSize, Random random)
    {
        var bits = U32(image, 4) == 2 ? 16 : 1 << (int)U32(image, 96);
        var used = Math.Max(1, Math.Min(clusterSize, (long)(image.Length / clusterSize) * bits / 8));
        var at = block + random.Next((int)used);
        var before = image[at];
        image[at] = (byte)(random.Next(2) == 0 ? before ^ (1 << random.Next(8)) : random.Next(256));
        return $"byte of the refcount block at {at}: 0x{before:x} -> 0x{image[at]:x}";
    }

    private static string PatchEntry(byte[] image, int table, int clusterSize, Random random)
    {
        var start = random.Next(clusterSize / 8);
        for (var step = 0; step < clusterSize / 8; step++)
        {
            var at = table + (start + step) % (clusterSize / 8) * 8;
            if (U64(image, at) != 0)
                return Patch(image, at, random);
        }

        return Patch(image, table, random);
    }

    private static string Patch(byte[] image, int at, Random random)
    {
        var before = U64(image, at);
        var after = random.Next(6) switch
        {
            0 => before ^ (1UL << 63),
            1 => 0UL,
            2 => before ^ (1UL << random.Next(1, 9)),
            3 => before ^ (1UL << random.Next(9, 30)),
            4 => (before & ~OffsetMask) | 0x7FFF_FFFF_0000,
            _ => before ^ (1UL << random.Next(64)),
        };
        BinaryPrimitives.WriteUInt64BigEndian(image.AsSpan(at), after);
        return $"entry at {at}: 0x{before:x} -> 0x{after:x}";
    }

    private static uint U32(byte[] image, int at) => BinaryPrimitives.ReadUInt32BigEndian(image.AsSpan(at));

    private static ulong U64(byte[] image, int at) => BinaryPrimitives.ReadUInt64BigEndian(image.AsSpan(at));
}
