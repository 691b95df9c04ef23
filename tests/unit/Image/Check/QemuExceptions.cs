using System;
using System.Buffers.Binary;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>Where qemu 7.2 is wrong, or does what we do not want to do. Each was looked at by hand.</summary>
internal static class QemuExceptions
{
    private const int SnapshotCount = 60;
    private const int Autoclear = 88;

    /// <param name="image">that was checked</param>
    /// <returns>the name of the exception; null: qemu is right</returns>
    /// <remarks>Offsets have 56 bits. qemu takes 63 here alone, and reads zeroes there; to us the bitmap directory is damaged.</remarks>
    public static string? OfCheck(byte[] image) =>
        BitmapTableOffset(image) >= 1UL << 56 ? "bitmap tables beyond the last offset there is" : null;

    /// <param name="image">that was repaired</param>
    /// <param name="report">what qemu-img said</param>
    /// <returns>the name of the exception; null: qemu is right</returns>
    public static string? OfRepair(byte[] image, string report)
    {
        // A repair opens the image for writing and has not read the snapshots then. Whatever makes qemu write the header at that
        // moment (bitmaps, unknown autoclear bits) writes that there are none: all snapshots are lost, and freed as leaks.
        if (U32(image, SnapshotCount) > 0 && U32(image, 4) == 3 && U64(image, Autoclear) is not 0)
            return "snapshots are lost";

        // The file is made as long as a damaged refcount table entry says, up to the limit of the file system, for a block of
        // zeroes; this block is then counted as a second error. We make new refcounts and leave the file as it is.
        if (report.Contains("is outside image", StringComparison.Ordinal))
            return "file grows";
        return OfCheck(image);
    }

    /// <summary>Of the first bitmap: the only one that is ever damaged.</summary>
    private static ulong BitmapTableOffset(byte[] image)
    {
        const uint bitmaps = 0x23852875;
        if (U32(image, 4) != 3)
            return 0;
        for (var at = (long)U32(image, 100); at < 1 << 12 && U32(image, (int)at) != 0; at += 8 + ((U32(image, (int)at + 4) + 7L) & ~7L))
        {
            if (U32(image, (int)at) == bitmaps && U64(image, (int)at + 24) is var directory && directory < (ulong)image.Length - 8)
                return U64(image, (int)directory);
        }

        return 0;
    }

    private static uint U32(byte[] image, int at) => BinaryPrimitives.ReadUInt32BigEndian(image.AsSpan(at));

    private static ulong U64(byte[] image, int at) => BinaryPrimitives.ReadUInt64BigEndian(image.AsSpan(at));
}
