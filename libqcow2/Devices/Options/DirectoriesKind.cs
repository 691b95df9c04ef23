using System.Collections.Generic;
using System.IO;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>
/// Directories, one each time that the option is given. Resolved here, once: what the name leads to later does not count.
/// </summary>
internal sealed class DirectoriesKind : ValueKind<IReadOnlyList<string>>
{
    public override string Noun => "a list of texts";

    public override bool IsGiven(IReadOnlyList<string> value) => value.Count > 0;

    public override IReadOnlyList<string> Parse(string said, string text) =>
        text.Length > 0 && Path.GetFullPath(RealPath.Of(text)) is var real && Directory.Exists(real) ? [real]
            : throw new OutcomeException(OutcomeKind.Invalid, $"{said} {text} is not a directory", "backing files could never be opened");

    public override IReadOnlyList<string> Add(IReadOnlyList<string> before, IReadOnlyList<string> value) => [.. before, .. value];

    public override IReadOnlyList<string> Print(IReadOnlyList<string> value) => value;

    public override bool TryRead(ref Utf8JsonReader reader, out IReadOnlyList<string> value)
    {
        var directories = new List<string>();
        value = directories;
        if (reader.TokenType != JsonTokenType.StartArray)
            return false;
        while (reader.Read() && reader.TokenType == JsonTokenType.String)
            directories.Add(reader.GetString()!);
        return reader.TokenType == JsonTokenType.EndArray;
    }

    public override void Write(Utf8JsonWriter writer, IReadOnlyList<string> value)
    {
        writer.WriteStartArray();
        foreach (var directory in value)
            writer.WriteStringValue(directory);
        writer.WriteEndArray();
    }
}
