using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Opening;

namespace Qcow2Blk.Devices;

/// <summary>What is told of an open image, attached or not; the members are listed in docs/json.md.</summary>
internal static class ImageStatus
{
    /// <summary>Writes "geometry", "chain", "bitmaps" and "cache" into the open object.</summary>
    /// <param name="writer">where to</param>
    /// <param name="disk">the open image; null while it is suspended</param>
    /// <param name="chain">what it consists of</param>
    /// <param name="size">bytes of the disk, also while it is suspended</param>
    /// <param name="readOnly">whether it takes no writes</param>
    public static void Write(Utf8JsonWriter writer, IDisk? disk, IReadOnlyList<ChainLink> chain, long size, bool readOnly)
    {
        WriteGeometry(writer, disk as Qcow2Image, size, readOnly);
        WriteChain(writer, chain);
        if (disk is not Qcow2Image image)
            return;
        if (image.Bitmaps is { } bitmaps)
            WriteBitmaps(writer, bitmaps);
        WriteCache(writer, image);
    }

    private static void WriteGeometry(Utf8JsonWriter writer, Qcow2Image? image, long size, bool readOnly)
    {
        writer.WriteStartObject("geometry");
        writer.WriteNumber("size", size);
        writer.WriteBoolean("read-only", readOnly);
        if (image is not null)
        {
            writer.WriteNumber("version", image.Header.Version);
            writer.WriteNumber("cluster-size", image.Header.ClusterSize);
            writer.WriteNumber("refcount-bits", 1 << image.Header.RefcountOrder);
            writer.WriteString("compression", CompressionTypes.Words.Of(image.Header.CompressionType));
            writer.WriteNumber("snapshots", image.Header.SnapshotCount);
            writer.WriteNumber("file-bytes", image.File.Length);
        }

        writer.WriteEndObject();
    }

    private static void WriteChain(Utf8JsonWriter writer, IReadOnlyList<ChainLink> chain)
    {
        writer.WriteStartArray("chain");
        foreach (var link in chain)
        {
            writer.WriteStartObject();
            writer.WriteString("path", link.Path);
            writer.WriteString("format", link.Format);
            writer.WriteNumber("size", link.Size);
            writer.WriteBoolean("direct", link.Direct);
            if (link.Header is not null)
                EncryptionStatus.Write(writer, link.Header, link.Luks);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteBitmaps(Utf8JsonWriter writer, ImageBitmaps bitmaps)
    {
        if (bitmaps.Damage is { } damage)
            writer.WriteString("bitmaps-error", damage);
        if (bitmaps.Count == 0)
            return;
        writer.WriteNumber("bitmap-count", bitmaps.Count);
        writer.WriteStartArray("bitmaps");
        foreach (var bitmap in bitmaps.Listed)
        {
            writer.WriteStartObject();
            writer.WriteString("name", bitmap.Entry.Name);
            writer.WriteNumber("granularity", 1L << bitmap.Entry.GranularityBits);
            writer.WriteString("state", bitmap.State);
            writer.WriteStartArray("flags");
            foreach (var flag in bitmap.Entry.FlagNames)
                writer.WriteStringValue(flag);
            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteCache(Utf8JsonWriter writer, Qcow2Image image)
    {
        writer.WriteStartObject("cache");
        writer.WriteNumber("l2-bytes", image.L2CacheBytes);
        writer.WriteNumber("l2-hits", image.L2CacheHits);
        writer.WriteNumber("l2-misses", image.L2CacheMisses);
        writer.WriteNumber("commits", image.Commits);
        writer.WriteEndObject();
    }
}
