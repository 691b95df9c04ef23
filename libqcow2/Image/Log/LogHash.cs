using System;
using Qcow2Blk.Image.Tables;

namespace Qcow2Blk.Image.Log;

/// <summary>
/// Tells tables and headers from others, not from forged ones: who can write the image can write anything. The hash of a
/// table does not depend on the order, so that it follows a change of one entry.
/// </summary>
internal static class LogHash
{
    public static ulong OfTable(MetadataTable table)
    {
        ulong hash = 0;
        for (var index = 0; index < table.Entries; index++)
            hash ^= OfEntry(index, table[index]);
        return hash;
    }

    public static ulong OfEntry(long index, ulong raw) => raw == 0 ? 0 : Mix(Mix((ulong)index + 1) ^ raw);

    public static ulong Add(ulong hash, ulong value) => Mix(hash ^ value) + value;

    public static ulong Add(ulong hash, ReadOnlySpan<byte> bytes)
    {
        hash = Add(hash, (ulong)bytes.Length);
        foreach (var each in bytes)
            hash = Add(hash, each);
        return hash;
    }

    // splitmix64
    private static ulong Mix(ulong z)
    {
        z += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
