using System;
using System.Buffers;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Options;

/// <summary>
/// Attach options as one JSON object: how the command hands them to its server, and what the state file keeps. What was not
/// given and has no default is left out; defaults are written: the next version may have others.
/// </summary>
internal static class AttachOptionsJson
{
    private static readonly Dictionary<string, AttachOption> s_members =
        AttachOptionTable.All.Where(option => option.IsStored).ToDictionary(option => option.Member ?? option.Name);

    public static byte[] Write(AttachOptions options)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
            WriteValue(writer, options);
        return buffer.WrittenSpan.ToArray();
    }

    public static void WriteValue(Utf8JsonWriter writer, AttachOptions options)
    {
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentNullException.ThrowIfNull(options);
        writer.WriteStartObject();
        foreach (var option in AttachOptionTable.All)
            option.Write(writer, options);
        writer.WriteEndObject();
    }

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <exception cref="JsonException">not such an object</exception>
    public static AttachOptions Read(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        reader.Read();
        return ReadValue(ref reader);
    }

    /// <summary>Reads the object that the reader stands on, to its end.</summary>
    /// <exception cref="JsonException">not such an object, an unknown member, or a value that no option has</exception>
    public static AttachOptions ReadValue(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("options are not a JSON object");
        var options = new AttachOptions { Image = "" };
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var member = reader.GetString()!;
            reader.Read();
            if (!s_members.TryGetValue(member, out var option))
                throw new JsonException($"options.{Printable.Escape(member)} is not an option that this version knows");
            options = option.Read(ref reader, options);
        }

        return options.Image.Length > 0 ? options : throw new JsonException("options.image is missing");
    }
}
