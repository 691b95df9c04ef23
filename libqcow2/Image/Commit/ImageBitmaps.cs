using System;
using System.Collections.Generic;
using Qcow2Blk.Format;

namespace Qcow2Blk.Image.Commit;

/// <summary>What an open image has in persistent bitmaps. They are listed, and not kept: writes make those that record invalid.</summary>
/// <param name="Listed">the first of them; see <see cref="MaxListed"/></param>
/// <param name="Count">how many there are</param>
/// <param name="Recording">how many of them record every change, and are valid until the first</param>
/// <param name="RecordingNames">the names of the first of those; see <see cref="MaxNamed"/></param>
/// <param name="Damage">why the directory cannot be read; null if it can, or if there is none</param>
internal sealed record ImageBitmaps(
    IReadOnlyList<BitmapEntry> Listed, int Count, int Recording, IReadOnlyList<string> RecordingNames, string? Damage)
{
    /// <summary>A directory may have 65535 entries with names of 1 KiB; a control reply holds 1 MiB, and people read less.</summary>
    public const int MaxListed = 100;

    /// <summary>As many as a line of a log can hold.</summary>
    public const int MaxNamed = 8;

    public static ImageBitmaps None { get; } = new([], 0, 0, [], null);

    /// <summary>Reads a directory.</summary>
    /// <exception cref="ImageFormatException">it is damaged</exception>
    internal static ImageBitmaps Of(ReadOnlySpan<byte> directory, BitmapsExtension extension, Header header)
    {
        var (listed, names) = (new List<BitmapEntry>(), new List<string>());
        var (count, recording) = (0, 0);
        var reader = new BitmapDirectoryReader(directory, extension.NumberOfBitmaps, header.ClusterSize, header.Path);
        while (reader.TryRead() is { } entry)
        {
            if (count++ < MaxListed)
                listed.Add(entry);
            if (entry.IsRecording && recording++ < MaxNamed)
                names.Add(entry.Name);
        }

        return new ImageBitmaps(listed, count, recording, names, null);
    }
}
