using System;
using System.Collections.Generic;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Format;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Devices.Options;

/// <summary>A list of texts, one each time that the option is given.</summary>
internal abstract class TextsKind : ValueKind<IReadOnlyList<string>>
{
    public override string Noun => "a list of texts";

    public override bool IsGiven(IReadOnlyList<string> value) => value.Count > 0;

    public override IReadOnlyList<string> Add(IReadOnlyList<string> before, IReadOnlyList<string> value) => [.. before, .. value];

    public override IReadOnlyList<string> Print(IReadOnlyList<string> value) => value;

    public override bool TryRead(ref Utf8JsonReader reader, out IReadOnlyList<string> value)
    {
        var texts = new List<string>();
        value = texts;
        if (reader.TokenType != JsonTokenType.StartArray)
            return false;
        while (reader.Read() && reader.TokenType == JsonTokenType.String)
            texts.Add(reader.GetString()!);
        return reader.TokenType == JsonTokenType.EndArray;
    }

    public override void Write(Utf8JsonWriter writer, IReadOnlyList<string> value)
    {
        writer.WriteStartArray();
        foreach (var text in value)
            writer.WriteStringValue(text);
        writer.WriteEndArray();
    }
}

/// <summary>Files.</summary>
internal sealed class FilesKind : TextsKind
{
    public override IReadOnlyList<string> Parse(string said, string text) =>
        text.Length > 0 && !text.Contains('\0', StringComparison.Ordinal) ? [FilePath.Absolute(text)]
            : throw new OutcomeException(OutcomeKind.Invalid, $"{said} is not a file name", "it is empty or contains a NUL");
}

/// <summary>Names of environment variables or systemd credentials.</summary>
internal sealed class NamesKind : TextsKind
{
    public override IReadOnlyList<string> Parse(string said, string text) =>
        text.Length > 0 && text is not ("." or "..") && text.AsSpan().IndexOfAny("/=\0") < 0 ? [text]
            : throw new OutcomeException(OutcomeKind.Invalid, $"{said} \"{text}\" is not a name", "it is empty or contains / or =");
}

/// <summary>Names of bitmaps that clients may look at.</summary>
internal sealed class BitmapNamesKind : TextsKind
{
    public override IReadOnlyList<string> Parse(string said, string text) => [text];

    public override IReadOnlyList<string> Add(IReadOnlyList<string> before, IReadOnlyList<string> value) =>
        System.Linq.Enumerable.Contains(before, value[0]) ? before : base.Add(before, value);

    public override ValueRefusal? Refuse(string said, IReadOnlyList<string> value)
    {
        foreach (var name in value)
        {
            if (Encoding.UTF8.GetByteCount(name) is 0 or > Limits.MaxBitmapNameLength)
            {
                return new ValueRefusal(
                    $"{said} \"{name}\" is not the name of a bitmap", $"names have 1 to {Limits.MaxBitmapNameLength} bytes");
            }
        }

        return value.Count <= NbdProtocol.MaxBitmaps ? null
            : new ValueRefusal($"{said} is given {value.Count} times", $"clients may look at {NbdProtocol.MaxBitmaps} bitmaps at most");
    }
}
