using System;
using System.Buffers;
using System.IO;
using System.Text.Json;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>What an entry is of, as the file <c>meta.json</c> in it says.</summary>
/// <param name="Key">the base</param>
/// <param name="ChunkBytes">of a chunk</param>
/// <param name="Made">when the entry was made: seconds since 1970</param>
/// <param name="Confirmed">when the source last said that this is what it has</param>
internal sealed record CacheLabel(CacheKey Key, int ChunkBytes, long Made, long Confirmed)
{
    public const string FileName = "meta.json";

    private const string DraftName = "meta.json.new";
    private const int MaxBytes = 64 << 10;

    public ChunkLayout Layout => new(Key.Length, ChunkBytes);

    public string EntryName => Key.EntryName(ChunkBytes);

    /// <summary>As a time, however far away the file says that it is.</summary>
    public DateTimeOffset ConfirmedAt =>
        DateTimeOffset.FromUnixTimeSeconds(Math.Min(Confirmed, DateTimeOffset.MaxValue.ToUnixTimeSeconds()));

    /// <returns>null if there is none, or it is not one of ours</returns>
    public static CacheLabel? TryRead(CacheFolder entry)
    {
        var descriptor = entry.OpenFile(FileName, O_RDONLY);
        if (descriptor < 0)
            return null;
        var bytes = new byte[MaxBytes];
        var length = Files.ReadAll(descriptor, bytes, 0);
        Files.Close(descriptor);
        return length is > 0 and < MaxBytes ? Parse(bytes.AsMemory(0, length)) : null;
    }

    /// <summary>
    /// Writes it whole: who reads sees this one or the one before, also after a power cut. Without it all that the entry has would be
    /// lost. Which of the two is all the same, so the directory is not synced.
    /// </summary>
    /// <returns>0 or a negative errno</returns>
    public int Write(CacheFolder entry)
    {
        var result = entry.Remove(DraftName);
        if (result < 0)
            return result;
        var descriptor = entry.OpenFile(DraftName, O_WRONLY | O_CREAT | O_EXCL);
        if (descriptor < 0)
            return descriptor;
        result = Files.WriteAll(descriptor, ToJson(), 0);
        if (result == 0)
            result = Files.Sync(descriptor);
        Files.Close(descriptor);
        return result < 0 ? result : entry.Rename(DraftName, FileName);
    }

    /// <summary>Removes it, and a draft that somebody left who died.</summary>
    public static int Remove(CacheFolder entry) => entry.Remove(DraftName) is var result and < 0 ? result : entry.Remove(FileName);

    public byte[] ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteString("name"u8, Key.Name);
            writer.WriteString("version"u8, Key.Version);
            writer.WriteNumber("length"u8, Key.Length);
            writer.WriteNumber("chunk-bytes"u8, ChunkBytes);
            writer.WriteNumber("made"u8, Made);
            writer.WriteNumber("confirmed"u8, Confirmed);
            writer.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Members of later versions are skipped.</summary>
    /// <returns>null if it is not one of ours</returns>
    internal static CacheLabel? Parse(ReadOnlyMemory<byte> json)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            var root = document.RootElement;
            if (root.ValueKind == JsonValueKind.Object
                && Text(root, "name") is { } name && Text(root, "version") is { } version
                && Number(root, "length") is { } length && Number(root, "chunk-bytes") is { } chunk and <= int.MaxValue
                && Number(root, "made") is { } made && Number(root, "confirmed") is { } confirmed)
            {
                var label = new CacheLabel(new CacheKey(name, version, length), (int)chunk, made, confirmed);
                return label.Layout.IsPossible ? label : null;
            }
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // Not JSON, or a text that is not Unicode.
        }

        return null;
    }

    private static string? Text(JsonElement root, string member) =>
        root.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String
        && value.GetString() is { Length: > 0 and <= CacheKey.MaxCharacters } text ? text : null;

    private static long? Number(JsonElement root, string member) =>
        root.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.Number
        && value.TryGetInt64(out var number) && number >= 0 ? number : null;
}
