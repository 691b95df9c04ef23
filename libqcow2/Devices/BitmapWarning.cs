using Qcow2Blk.Image.Commit;

namespace Qcow2Blk.Devices;

/// <summary>What somebody must know of an image's persistent bitmaps before it is written: which of them are not kept.</summary>
internal static class BitmapWarning
{
    /// <summary>Longer texts are cut: it is one line of a log.</summary>
    private const int MaxLength = 200;

    /// <summary>The warning at attach.</summary>
    /// <returns>null if no bitmap is lost: each that records, and is valid, is kept</returns>
    internal static string? Of(string path, ImageBitmaps bitmaps, bool readOnly)
    {
        if (bitmaps.Damage is { } damage)
        {
            return readOnly
                ? $"bitmaps of {path} cannot be read: {damage}"
                : $"bitmaps of {path} cannot be read and become invalid with the first write: {damage} (use --read-only to keep them)";
        }

        if (bitmaps.UnkeptCount == 0 || readOnly)
            return null;
        var (noun, pronoun) = bitmaps.UnkeptCount == 1 ? ("bitmap", "it") : ("bitmaps", "them");
        return $"{noun} {Names(bitmaps)} of {path} will become invalid with the first write (use --read-only to keep {pronoun})";
    }

    private static string Names(ImageBitmaps bitmaps)
    {
        var names = string.Join(", ", System.Linq.Enumerable.Select(bitmaps.Unkept, Short));
        var more = bitmaps.UnkeptCount - bitmaps.Unkept.Count;
        return more > 0 ? $"{names} and {more} more" : names;
    }

    private static string Short(string text) => text.Length <= MaxLength ? text : text[..MaxLength] + "...";
}
