using System.Buffers;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>A checkpoint of an image.</summary>
/// <param name="Snapshot">the disk as it was</param>
/// <param name="Bitmap">index in the directory of what changed since, up to the next one</param>
internal sealed record Checkpoint(SnapshotEntry Snapshot, int Bitmap)
{
    public string Name => Snapshot.Name;

    public string Id => Snapshot.Id;
}

/// <summary>The checkpoints of an image: they are nothing but snapshots that have a bitmap of the same name.</summary>
internal static class CheckpointList
{
    /// <summary>The oldest first, as snapshots are in their table.</summary>
    public static List<Checkpoint> Of(IReadOnlyList<SnapshotEntry> snapshots, BitmapDirectoryBytes directory)
    {
        var names = snapshots.CountBy(snapshot => snapshot.Name).ToDictionary();
        var found = new List<Checkpoint>();
        foreach (var snapshot in snapshots)
        {
            if (names[snapshot.Name] == 1 && directory.Find(snapshot.Name) is >= 0 and var bitmap)
                found.Add(new Checkpoint(snapshot, bitmap));
        }

        return found;
    }

    /// <summary>As JSON. Changes nothing, and may run at any time.</summary>
    public static async LoopTask<EditAnswer> ToJsonAsync(IReadOnlyList<SnapshotEntry> snapshots, BitmapSet set, BitmapEditor bitmaps)
    {
        if (set.Damage is { } damage)
            return EditAnswer.Refused(EditResult.Failed, damage);
        var listed = new List<(Checkpoint Checkpoint, BitmapEntry Bitmap, long? Dirty)>();
        foreach (var checkpoint in Of(snapshots, set.Directory ?? bitmaps.Empty()))
        {
            var entry = set.Directory!.Entries[checkpoint.Bitmap];
            listed.Add((checkpoint, entry, await bitmaps.DirtyBytesAsync(entry)));
        }

        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartArray();
            foreach (var (checkpoint, entry, dirty) in listed)
                Write(writer, checkpoint, entry, set.IsKept(entry) ? "recording" : entry.State, dirty);
            writer.WriteEndArray();
        }

        return EditAnswer.Done with { Json = Encoding.UTF8.GetString(buffer.WrittenSpan) };
    }

    private static void Write(Utf8JsonWriter writer, Checkpoint checkpoint, BitmapEntry bitmap, string state, long? dirty)
    {
        writer.WriteStartObject();
        writer.WriteString("name"u8, checkpoint.Name);
        writer.WriteString("snapshot-id"u8, checkpoint.Id);
        writer.WriteNumber("date-sec"u8, checkpoint.Snapshot.DateSeconds);
        writer.WriteNumber("date-nsec"u8, checkpoint.Snapshot.DateNanoseconds);
        writer.WriteString("bitmap"u8, state);
        writer.WriteNumber("granularity"u8, 1L << bitmap.GranularityBits);
        if (dirty is { } bytes)
            writer.WriteNumber("dirty-bytes"u8, bytes);
        writer.WriteEndObject();
    }
}
