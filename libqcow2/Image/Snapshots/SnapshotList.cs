using System;
using System.Buffers;
using System.Collections.Generic;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Format;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>Snapshots as JSON, with qemu-img's names.</summary>
internal static class SnapshotList
{
    /// <param name="entries">in the order of the table</param>
    /// <param name="diskSize">bytes of the disk: of snapshots that do not say it</param>
    public static string ToJson(IReadOnlyList<SnapshotEntry> entries, long diskSize) => Write(writer =>
    {
        writer.WriteStartArray();
        foreach (var entry in entries)
        {
            writer.WriteStartObject();
            writer.WriteString("id"u8, entry.Id);
            writer.WriteString("name"u8, entry.Name);
            writer.WriteNumber("vm-state-size"u8, entry.VmStateSize);
            writer.WriteNumber("date-sec"u8, entry.DateSeconds);
            writer.WriteNumber("date-nsec"u8, entry.DateNanoseconds);
            writer.WriteNumber("vm-clock-nsec"u8, entry.VmClockNanoseconds);
            writer.WriteNumber("disk-size"u8, entry.DiskSize ?? (ulong)diskSize);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    });

    /// <summary>One that was just taken.</summary>
    public static string ToJson(string id, string name) => Write(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("id"u8, id);
        writer.WriteString("name"u8, name);
        writer.WriteEndObject();
    });

    private static string Write(Action<Utf8JsonWriter> content)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
            content(writer);
        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }
}
