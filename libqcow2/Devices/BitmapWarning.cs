using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Opening;


namespace Qcow2Blk.Devices;

/// <summary>What somebody must know of an image's persistent bitmaps before it is written: they are not kept.</summary>
internal static class BitmapWarning
{
    /// <summary>Longer names are cut: it is one line of a log.</summary>
    private const int MaxNameLength = 64;

    /// <summary>The warning at attach.</summary>
    /// <returns>null if no bitmap can be lost: there is none, or none that records and is valid</returns>
    internal static string? Of(string path, ImageBitmaps bitmaps, bool readOnly)
    {
        if (bitmaps.Damage is { } damage)
        {
            return readOnly
                ? $"bitmaps of {path} cannot be read: {damage}"
                : $"bitmaps of {path} cannot be read and become invalid with the first write: {damage} (use --read-only to keep them)";
        }

        if (bitmaps.Recording == 0 || readOnly)
            return null;
        var (noun, pronoun) = bitmaps.Recording == 1 ? ("bitmap", "it") : ("bitmaps", "them");
        return $"{noun} {Names(bitmaps)} of {path} will become invalid with the first write (use --read-only to keep {pronoun})";
    }

    private static string Names(ImageBitmaps bitmaps)
    {
        var names = string.Join(", ", System.Linq.Enumerable.Select(bitmaps.RecordingNames, Short));
        var more = bitmaps.Recording - bitmaps.RecordingNames.Count;
        return more > 0 ? $"{names} and {more} more" : names;
    }

    private static string Short(string name) => name.Length <= MaxNameLength ? name : name[..MaxNameLength] + "...";
}
