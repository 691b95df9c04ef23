using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text;
using System.Text.Json;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// The order in which chunks of a base were first read, such as by a boot: lines of JSON, the first of which says of which base.
/// </summary>
/// <param name="Version">of the base; null if nothing tells it from others</param>
/// <param name="Length">of the base, in bytes</param>
/// <param name="ChunkBytes">bytes from each offset on</param>
/// <param name="Offsets">of the chunks, the first that was read first</param>
internal sealed record BootTrace(string? Version, long Length, int ChunkBytes, IReadOnlyList<long> Offsets)
{
    /// <summary>When the last one was read, after the first.</summary>
    public long Milliseconds { get; private init; }

    /// <summary>256 GiB in chunks of the default size: a boot reads a thousandth of that.</summary>
    public const int MaxEntries = 1 << 20;

    /// <summary>Of a file: more than so many entries take.</summary>
    public const int MaxBytes = 64 << 20;

    private const string Format = "qcow2blk-trace";

    public static string Header(string name, string? version, long length, int chunkBytes)
    {
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream))
        {
            writer.WriteStartObject();
            writer.WriteString("format", Format);
            writer.WriteNumber("version", 1);
            writer.WriteString("base", name);
            writer.WriteString("identity", version);
            writer.WriteNumber("length", length);
            writer.WriteNumber("chunk-size", chunkBytes);
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray());
    }

    public static string Entry(long offset, long milliseconds) =>
        string.Create(CultureInfo.InvariantCulture, $"{{\"offset\":{offset},\"ms\":{milliseconds}}}");

    /// <summary>Reads a trace, which may be anybody's: what it says is only ever a hint.</summary>
    /// <returns>null, or why it is none</returns>
    public static string? Parse(ReadOnlySpan<byte> text, out BootTrace? trace)
    {
        trace = null;
        BootTrace? head = null;
        var offsets = new List<long>();
        var time = 0L;
        var number = 0;
        foreach (var range in text.Split((byte)'\n'))
        {
            var line = text[range];
            number++;
            if (line.Trim((byte)' ').IsEmpty)
                continue;

            // The last line of a server that was killed may be half a line.
            var isLast = range.End.GetOffset(text.Length) == text.Length;
            if (ReadLine(line, ref head, offsets, ref time) is { } why)
                return isLast && head is not null ? Done(head, offsets, time, out trace) : $"line {number}: {why}";
            if (offsets.Count > MaxEntries)
                return $"it has more than {MaxEntries} entries";
        }

        return head is null ? "it is empty" : Done(head, offsets, time, out trace);
    }

    private static string? Done(BootTrace head, List<long> offsets, long time, out BootTrace trace)
    {
        trace = head with { Offsets = offsets, Milliseconds = time };
        return null;
    }

    private static string? ReadLine(ReadOnlySpan<byte> line, ref BootTrace? head, List<long> offsets, ref long time)
    {
        try
        {
            var reader = new Utf8JsonReader(line, new JsonReaderOptions { MaxDepth = 4 });
            using var document = JsonDocument.ParseValue(ref reader);
            var root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object)
                return "it is not a JSON object";
            if (head is null)
                return ReadHead(root, out head);
            if (!root.TryGetProperty("offset", out var offset) || !offset.TryGetInt64(out var value) || value < 0 || value >= head.Length)
                return $"\"offset\" is not one of the base, which has {head.Length} bytes";
            offsets.Add(value);
            if (root.TryGetProperty("ms", out var said) && said.TryGetInt64(out var milliseconds))
                time = Math.Clamp(milliseconds, 0, int.MaxValue);
            return null;
        }
        catch (Exception failure) when (failure is JsonException or InvalidOperationException)
        {
            return "it is not valid JSON of a trace";
        }
    }

    private static string? ReadHead(JsonElement root, out BootTrace? head)
    {
        head = null;
        if (!root.TryGetProperty("format", out var format) || format.GetString() != Format)
            return $"\"format\" is not \"{Format}\"";
        if (!root.TryGetProperty("version", out var version) || !version.TryGetInt32(out var number) || number != 1)
            return "\"version\" is not 1";
        if (!root.TryGetProperty("length", out var length) || !length.TryGetInt64(out var bytes) || bytes <= 0)
            return "\"length\" is not a number of bytes";
        if (!root.TryGetProperty("chunk-size", out var chunk) || !chunk.TryGetInt32(out var chunkBytes)
            || chunkBytes is < RemoteSettings.MinChunkBytes or > RemoteSettings.MaxChunkBytes)
        {
            return "\"chunk-size\" is not the size of a chunk";
        }

        var identity = root.TryGetProperty("identity", out var said) ? said.GetString() : null;
        head = new BootTrace(identity, bytes, chunkBytes, []);
        return null;
    }
}
