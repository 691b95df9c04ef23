using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices;
using Qcow2Blk.Format;
using Qcow2Blk.Inspect;

namespace Qcow2Blk.Cli;

/// <summary>What <c>info</c> says of an image, as text and as JSON (docs/json.md).</summary>
internal sealed class InfoReport(
    InspectedChain chain, IReadOnlyList<SnapshotEntry> snapshots, IReadOnlyList<BitmapEntry> bitmaps, string? bitmapDamage, string? writer,
    LuksHeader? luks, string? luksDamage)
{
    private static readonly string[] s_encryption = ["none", "aes", "luks"];

    private InspectedImage Image => chain.Images[0];

    internal void WriteJson(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("filename"u8, Image.File.Path);
        json.WriteString("format"u8, Image.FormatName);
        json.WriteNumber("virtual-size"u8, Image.DiskSize);
        json.WriteNumber("actual-size"u8, Image.File.Allocated);
        json.WriteNumber("file-size"u8, Image.File.Length);
        json.WriteString("in-use-by"u8, writer);
        if (Image.Header is { } header)
        {
            WriteHeader(json, header);
            EncryptionStatus.Write(json, header, luks);
            if (luksDamage is not null)
                json.WriteString("encryption-error"u8, luksDamage);
            WriteSnapshots(json);
            WriteBitmaps(json);
        }

        WriteChain(json);
        json.WriteEndObject();
    }

    internal string ToText()
    {
        var text = new StringBuilder();
        foreach ((var key, var value) in Lines())
        {
            if (!string.IsNullOrEmpty(value))
                text.Append($"{key,-22}{Printable.Escape(value)}\n");
        }

        AppendTable(text, "snapshots", SnapshotTable());
        AppendTable(text, "bitmaps", BitmapTable());
        AppendTable(text, "chain", ChainTable());
        return text.ToString();
    }

    private IEnumerable<(string Key, string? Value)> Lines()
    {
        yield return ("image", Image.File.Path);
        yield return ("in use by", writer);
        yield return ("format", Image.Header is null ? "raw" : $"qcow2 version {Image.Header.Version}");
        yield return ("virtual size", $"{Quantity.Bytes(Image.DiskSize)} ({Image.DiskSize} bytes)");
        yield return ("on disk", $"{Quantity.Bytes(Image.File.Allocated)} (file size {Quantity.Bytes(Image.File.Length)})");
        if (Image.Header is not { } header)
            yield break;
        yield return ("cluster size", Quantity.Bytes(header.ClusterSize));
        yield return ("refcount width", $"{1 << header.RefcountOrder} bits");
        yield return ("compression", Compression(header));
        yield return ("encryption", Encryption(header) + (luks is null ? "" : $", {luks.Cipher.Algorithm}-{luks.Cipher.ModeName}"));
        yield return ("key slots", KeySlots());
        yield return ("incompatible features", string.Join(", ", Names(header, FeatureKind.Incompatible)));
        yield return ("compatible features", string.Join(", ", Names(header, FeatureKind.Compatible)));
        yield return ("autoclear features", string.Join(", ", Names(header, FeatureKind.Autoclear)));
        yield return ("data file", header.DataFileName);
        yield return ("backing file", header.BackingFile);
        yield return ("backing format", header.BackingFormat);
        yield return ("bitmaps", BitmapLine());
    }

    private string? KeySlots()
    {
        if (luks is null)
            return luksDamage is null ? null : $"cannot be read: {luksDamage}";
        var hash = LuksHashes.Words.Of(luks.Hash);
        var active = luks.Slots.Index().Where(slot => slot.Item.IsActive)
            .Select(slot => $"{slot.Index} ({slot.Item.Iterations} rounds of {hash})");
        return string.Join(", ", active);
    }

    private static void WriteHeader(Utf8JsonWriter json, Header header)
    {
        json.WriteNumber("version"u8, header.Version);
        json.WriteNumber("cluster-size"u8, header.ClusterSize);
        json.WriteNumber("refcount-bits"u8, 1 << header.RefcountOrder);
        json.WriteString("compression-type"u8, Compression(header));
        json.WriteString("encryption"u8, Encryption(header));
        json.WriteBoolean("lazy-refcounts"u8, header.Compatible.HasFlag(CompatibleFeatures.LazyRefcounts));
        json.WriteBoolean("dirty"u8, header.Incompatible.HasFlag(IncompatibleFeatures.Dirty));
        json.WriteBoolean("corrupt"u8, header.Incompatible.HasFlag(IncompatibleFeatures.Corrupt));
        json.WriteBoolean("extended-l2"u8, header.Incompatible.HasFlag(IncompatibleFeatures.ExtendedL2));
        WriteNames(json, "incompatible-features", Names(header, FeatureKind.Incompatible));
        WriteNames(json, "compatible-features", Names(header, FeatureKind.Compatible));
        WriteNames(json, "autoclear-features", Names(header, FeatureKind.Autoclear));
        json.WriteString("data-file"u8, header.DataFileName);
        json.WriteString("backing-filename"u8, header.BackingFile);
        json.WriteString("backing-filename-format"u8, header.BackingFormat);
    }

    private void WriteSnapshots(Utf8JsonWriter json)
    {
        json.WriteStartArray("snapshots"u8);
        foreach (var snapshot in snapshots)
        {
            json.WriteStartObject();
            json.WriteString("id"u8, snapshot.Id);
            json.WriteString("name"u8, snapshot.Name);
            json.WriteNumber("date-sec"u8, snapshot.DateSeconds);
            json.WriteNumber("date-nsec"u8, snapshot.DateNanoseconds);
            json.WriteNumber("vm-clock-nsec"u8, snapshot.VmClockNanoseconds);
            json.WriteNumber("vm-state-size"u8, snapshot.VmStateSize);
            if (snapshot.DiskSize is { } size)
                json.WriteNumber("virtual-size"u8, size);
            else
                json.WriteNull("virtual-size"u8);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private void WriteBitmaps(Utf8JsonWriter json)
    {
        json.WriteStartArray("bitmaps"u8);
        foreach (var bitmap in bitmaps)
        {
            json.WriteStartObject();
            json.WriteString("name"u8, bitmap.Name);
            json.WriteNumber("granularity"u8, 1L << bitmap.GranularityBits);
            json.WriteString("state"u8, bitmap.State);
            WriteNames(json, "flags", bitmap.FlagNames);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        if (bitmapDamage is not null)
            json.WriteString("bitmaps-error"u8, bitmapDamage);
    }

    private void WriteChain(Utf8JsonWriter json)
    {
        json.WriteStartArray("chain"u8);
        foreach (var image in chain.Images)
        {
            json.WriteStartObject();
            json.WriteString("filename"u8, image.File.Path);
            json.WriteString("format"u8, image.FormatName);
            json.WriteNumber("virtual-size"u8, image.DiskSize);
            json.WriteNumber("actual-size"u8, image.File.Allocated);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteBoolean("chain-complete"u8, chain.Broken is null);
    }

    private Table? SnapshotTable()
    {
        if (snapshots.Count == 0)
            return null;
        var table = new Table("ID", "NAME", "DATE (UTC)", "DISK", "VM STATE");
        foreach (var snapshot in snapshots)
        {
            table.Add(snapshot.Id, snapshot.Name,
                DateTimeOffset.FromUnixTimeSeconds(snapshot.DateSeconds).ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture),
                snapshot.DiskSize is { } size ? Quantity.Bytes((long)Math.Min(size, long.MaxValue)) : "-",
                Quantity.Bytes((long)Math.Min(snapshot.VmStateSize, long.MaxValue)));
        }

        return table;
    }

    private Table? BitmapTable()
    {
        if (bitmaps.Count == 0)
            return null;
        var table = new Table("NAME", "GRANULARITY", "STATE");
        foreach (var bitmap in bitmaps)
            table.Add(bitmap.Name, Quantity.Bytes(1L << bitmap.GranularityBits), bitmap.State);
        return table;
    }

    private string? BitmapLine()
    {
        if (bitmapDamage is not null)
            return $"cannot be read: {bitmapDamage}";
        var recording = bitmaps.Count(bitmap => bitmap.IsRecording);
        var pronoun = recording == 1 ? "it" : "them";
        return recording == 0 ? null : $"{recording} recording: the first write while attached makes {pronoun} inconsistent";
    }

    private Table? ChainTable()
    {
        if (chain.Images.Count == 1)
            return null;
        var table = new Table("FORMAT", "SIZE", "ON DISK", "FILE");
        foreach (var image in chain.Images)
            table.Add(image.FormatName, Quantity.Bytes(image.DiskSize), Quantity.Bytes(image.File.Allocated), image.File.Path);
        return table;
    }

    private static void AppendTable(StringBuilder text, string title, Table? table)
    {
        if (table is null)
            return;
        text.Append(title).Append('\n');
        foreach (var line in table.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries))
            text.Append("  ").Append(line).Append('\n');
    }

    private static void WriteNames(Utf8JsonWriter json, string member, IEnumerable<string> names)
    {
        json.WriteStartArray(member);
        foreach (var name in names)
            json.WriteStringValue(name);
        json.WriteEndArray();
    }

    private static IReadOnlyList<string> Names(Header header, FeatureKind kind)
    {
        var names = header.FeatureNames.NamesOf(kind, kind switch
        {
            FeatureKind.Incompatible => (ulong)header.Incompatible,
            FeatureKind.Compatible => (ulong)header.Compatible,
            _ => (ulong)header.Autoclear.WithRecoveryMark(0),
        });
        return kind == FeatureKind.Autoclear && header.Autoclear.RecoveryMark() != 0 ? [.. names, "qcow2blk recovery mark"] : names;
    }

    private static string Compression(Header header) => CompressionTypes.Words.Of(header.CompressionType);

    private static string Encryption(Header header) => s_encryption[header.CryptMethod];
}
