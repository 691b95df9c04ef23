using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;

namespace Qcow2Blk.Image.Commit;

/// <summary>What an open image has in persistent bitmaps, for those who only look.</summary>
/// <param name="Listed">the first of them; see <see cref="MaxListed"/></param>
/// <param name="Count">how many there are</param>
/// <param name="Unkept">the first of those that record and cannot be kept, each with the reason; see <see cref="MaxNamed"/></param>
/// <param name="UnkeptCount">how many there are</param>
/// <param name="Damage">why the directory cannot be read; null if it can, or if there is none</param>
internal sealed record ImageBitmaps(
    IReadOnlyList<ListedBitmap> Listed, int Count, IReadOnlyList<string> Unkept, int UnkeptCount, string? Damage)
{
    /// <summary>A directory may have 65535 entries with names of 1 KiB; a control reply holds 1 MiB, and people read less.</summary>
    public const int MaxListed = 100;

    /// <summary>As many as a line of a log can hold.</summary>
    public const int MaxNamed = 4;

    public static ImageBitmaps None { get; } = new([], 0, [], 0, null);

    internal static ImageBitmaps Of(BitmapSet set)
    {
        var listed = new List<ListedBitmap>();
        var entries = set.Directory?.Entries ?? [];
        for (var i = 0; i < entries.Count && i < MaxListed; i++)
            listed.Add(new ListedBitmap(entries[i], set.IsKept(entries[i])));
        return new ImageBitmaps(listed, entries.Count, [.. set.Unkept.Take(MaxNamed)], set.Unkept.Count, set.Damage);
    }
}

/// <summary>A bitmap as people see it.</summary>
/// <param name="Entry">of the directory</param>
/// <param name="IsKept">whether its in-use mark is ours, who follow it</param>
internal readonly record struct ListedBitmap(BitmapEntry Entry, bool IsKept)
{
    public string State => IsKept ? "recording" : Entry.State;
}
