using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text.Json;
using Qcow2Blk.Remote.Cache;

namespace Qcow2Blk.Cli;

/// <summary>What <c>qcow2blk cache</c> prints of bases.</summary>
internal static class CacheReport
{
    // What git shows of its ids: enough to tell the entries of a node apart.
    private const int IdDigits = 8;

    public static string NameOf(CachedBase known) => known.Label?.Key.Name ?? ShortId(known);

    public static string TableOf(IReadOnlyList<CachedBase> bases, DateTimeOffset now)
    {
        var table = new Table("ID", "SIZE", "STORED", "SHARE", "PINNED", "LAST USE", "USERS", "NAME");
        foreach (var known in bases)
        {
            if (known.Label is { } label)
            {
                var length = label.Key.Length;
                var share = (known.StoredBytes * 100.0 / length).ToString("0.0", CultureInfo.InvariantCulture) + " %";
                table.Add(ShortId(known), Quantity.Bytes(length), Quantity.Bytes(known.StoredBytes), share,
                    Quantity.Bytes(known.PinnedBytes),
                    known.LastUse is { } time ? Duration.Ago(now - time) : "never",
                    known.Users.ToString(CultureInfo.InvariantCulture), label.Key.Name);
            }
            else
            {
                table.Add(ShortId(known), "-", Quantity.Bytes(known.TakenBytes), "-", "-", "-", "-", "(damaged)");
            }
        }

        return table.ToString();
    }

    public static string TextOf(CacheVerdict verdict)
    {
        var text = string.Create(CultureInfo.InvariantCulture,
            $"{NameOf(verdict.Base)}: {verdict.Checked} chunks verified, {verdict.Wrong} of them wrong and removed");
        if (verdict.IsSound)
            return $"{NameOf(verdict.Base)}: {verdict.Checked} chunks verified, no errors";
        return verdict.Failure is null ? text
            : verdict.Base.Label is null ? $"{NameOf(verdict.Base)}: {verdict.Failure}" : $"{text}; {verdict.Failure}";
    }

    /// <summary>The members of a base, in an object that has been begun.</summary>
    public static void Write(Utf8JsonWriter writer, CachedBase known)
    {
        writer.WriteString("id"u8, known.Id);
        writer.WriteBoolean("damaged"u8, known.Label is null);
        writer.WriteNumber("disk-bytes"u8, known.TakenBytes);
        if (known.Label is not { } label)
            return;
        writer.WriteString("name"u8, label.Key.Name);
        writer.WriteString("version"u8, label.Key.Version);
        writer.WriteNumber("length"u8, label.Key.Length);
        writer.WriteNumber("chunk-bytes"u8, label.ChunkBytes);
        writer.WriteNumber("stored-bytes"u8, known.StoredBytes);
        writer.WriteNumber("pinned-bytes"u8, known.PinnedBytes);
        if (known.LastUse is { } time)
            WriteTime(writer, "last-use"u8, time);
        else
            writer.WriteNull("last-use"u8);
        if (label.Confirmed > 0)
            WriteTime(writer, "confirmed"u8, label.ConfirmedAt);
        writer.WriteNumber("users"u8, known.Users);
    }

    public static void Write(Utf8JsonWriter writer, IEnumerable<CacheVerdict> verdicts)
    {
        writer.WriteStartArray();
        foreach (var verdict in verdicts)
        {
            writer.WriteStartObject();
            Write(writer, verdict.Base);
            writer.WriteNumber("checked-chunks"u8, verdict.Checked);
            writer.WriteNumber("wrong-chunks"u8, verdict.Wrong);
            if (verdict.Failure is { } failure)
                writer.WriteString("error"u8, failure);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteTime(Utf8JsonWriter writer, ReadOnlySpan<byte> name, DateTimeOffset time) =>
        writer.WriteString(name, time.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture));

    private static string ShortId(CachedBase known) => known.Id[..IdDigits];
}
