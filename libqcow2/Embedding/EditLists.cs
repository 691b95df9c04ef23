using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Format;

namespace Qcow2Blk.Embedding;

/// <summary>An internal snapshot, as struct qcow2blk_snapshot has it.</summary>
internal readonly record struct ListedSnapshot(
    string Id, string Name, long DateSeconds, uint DateNanoseconds, ulong VmClock, ulong VmStateSize, ulong DiskSize)
{
    /// <param name="entry">as the image has it</param>
    /// <param name="diskSize">of a snapshot that does not say it</param>
    public static ListedSnapshot Of(SnapshotEntry entry, long diskSize) => new(entry.Id, entry.Name, entry.DateSeconds,
        entry.DateNanoseconds, entry.VmClockNanoseconds, entry.VmStateSize, entry.DiskSize ?? (ulong)diskSize);
}

/// <summary>What a bitmap is; the values are those of QCOW2BLK_BITMAP_*.</summary>
[Flags]
internal enum BitmapTraits : uint
{
    None = 0,
    Disabled = 1,
    Records = 2,
    Inconsistent = 4,
    Exported = 8,
}

/// <summary>A persistent bitmap, as struct qcow2blk_bitmap has it.</summary>
/// <param name="Name">unique</param>
/// <param name="Traits">none if it is disabled and valid</param>
/// <param name="Granularity">bytes of the disk that a bit stands for</param>
/// <param name="DirtyBytes">null if nobody can tell</param>
internal readonly record struct ListedBitmap(string Name, BitmapTraits Traits, ulong Granularity, long? DirtyBytes);

/// <summary>A checkpoint, as struct qcow2blk_checkpoint has it.</summary>
/// <param name="Name">of its snapshot and of its bitmap</param>
/// <param name="SnapshotId">of the disk as it was</param>
/// <param name="DateSeconds">since 1970, when it was made</param>
/// <param name="DateNanoseconds">to be added to that</param>
/// <param name="Traits">of the bitmap: none if it does not record any more</param>
/// <param name="Granularity">bytes of the disk that a bit stands for</param>
/// <param name="DirtyBytes">null if nobody can tell</param>
internal readonly record struct ListedCheckpoint(
    string Name, string SnapshotId, long DateSeconds, uint DateNanoseconds, BitmapTraits Traits, ulong Granularity, long? DirtyBytes);

/// <summary>What edits answer, out of JSON: from the image that is open here, and from the server of a device.</summary>
internal static class EditLists
{
    public static IReadOnlyList<ListedSnapshot> Snapshots(string? json) => [.. Elements(json).Select(snapshot => new ListedSnapshot(
        snapshot.GetProperty("id").GetString()!, snapshot.GetProperty("name").GetString()!,
        snapshot.GetProperty("date-sec").GetInt64(), snapshot.GetProperty("date-nsec").GetUInt32(),
        snapshot.GetProperty("vm-clock-nsec").GetUInt64(), snapshot.GetProperty("vm-state-size").GetUInt64(),
        snapshot.GetProperty("disk-size").GetUInt64()))];

    public static IReadOnlyList<ListedBitmap> Bitmaps(string? json) => [.. Elements(json).Select(bitmap => new ListedBitmap(
        bitmap.GetProperty("name").GetString()!, TraitsOf(bitmap), bitmap.GetProperty("granularity").GetUInt64(), DirtyOf(bitmap)))];

    public static IReadOnlyList<ListedCheckpoint> Checkpoints(string? json) => [.. Elements(json).Select(checkpoint =>
        new ListedCheckpoint(checkpoint.GetProperty("name").GetString()!, checkpoint.GetProperty("snapshot-id").GetString()!,
            checkpoint.GetProperty("date-sec").GetInt64(), checkpoint.GetProperty("date-nsec").GetUInt32(),
            StateOf(checkpoint.GetProperty("bitmap")), checkpoint.GetProperty("granularity").GetUInt64(), DirtyOf(checkpoint)))];

    /// <summary>The ID of a snapshot that was just made.</summary>
    public static string NewId(string? json)
    {
        using var document = JsonDocument.Parse(json ?? "{}");
        return document.RootElement.TryGetProperty("id", out var id) ? id.GetString() ?? "" : "";
    }

    private static BitmapTraits TraitsOf(JsonElement bitmap)
    {
        var isExported = bitmap.TryGetProperty("exported", out var exported) && exported.GetBoolean();
        return StateOf(bitmap.GetProperty("state")) | (isExported ? BitmapTraits.Exported : BitmapTraits.None);
    }

    private static BitmapTraits StateOf(JsonElement word) => word.GetString() switch
    {
        "recording" => BitmapTraits.Records,
        "inconsistent" => BitmapTraits.Inconsistent,
        _ => BitmapTraits.None,
    };

    private static long? DirtyOf(JsonElement bitmap) => bitmap.TryGetProperty("dirty-bytes", out var dirty) ? dirty.GetInt64() : null;

    private static List<JsonElement> Elements(string? json)
    {
        using var document = JsonDocument.Parse(json ?? "[]");
        return [.. document.RootElement.EnumerateArray().Select(element => element.Clone())];
    }
}
