using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Format;

namespace Qcow2Blk.Cli;

/// <summary>
/// A status object as text for people: one aligned block of key and value for the object and for each object in it.
/// Units are told by the member names (docs/json.md): -bytes and -size are bytes, -ns are nanoseconds.
/// </summary>
internal static class StatusText
{
    // Numbers that nobody reads: the percentiles beside them say it.
    private const string ForPrograms = "histogram";

    internal static string Format(ReadOnlyMemory<byte> json, Style style)
    {
        using var document = JsonDocument.Parse(json);
        var text = new StringBuilder();
        Block(text, "", document.RootElement, style);
        return text.ToString();
    }

    private static void Block(StringBuilder text, string title, JsonElement block, Style style)
    {
        JsonProperty[] members = [.. block.EnumerateObject()];
        JsonProperty[] plain = [.. members.Where(member => !IsBlock(member.Value))];
        var indent = title.Length == 0 ? "" : "  ";
        if (title.Length > 0)
            text.Append(title).Append('\n');
        var width = plain.Length == 0 ? 0 : plain.Max(member => member.Name.Length);
        foreach (var member in plain)
        {
            if (member.Value.ValueKind == JsonValueKind.Null)
                continue;
            var value = Value(member.Name, member.Value);
            text.Append(indent).Append(Words(member.Name).PadRight(width + 2))
                .Append(title.Length > 0 ? value : Coloured(member, value, style)).Append('\n');
        }

        foreach (var member in members.Where(member => IsBlock(member.Value) && member.Name != ForPrograms))
            Nested(text, indent, member, style);
    }

    private static void Nested(StringBuilder text, string indent, JsonProperty member, Style style)
    {
        if (indent.Length == 0 && member.Value.ValueKind == JsonValueKind.Object)
        {
            Block(text, Words(member.Name), member.Value, style);
            return;
        }

        text.Append(indent).Append(Words(member.Name));
        if (member.Value.ValueKind == JsonValueKind.Object)
        {
            text.Append("  ").Append(OneLine(member.Value)).Append('\n');
            return;
        }

        text.Append('\n');
        foreach (var element in member.Value.EnumerateArray())
            text.Append(indent).Append("  ").Append(OneLine(element)).Append('\n');
    }

    private static string Coloured(JsonProperty member, string value, Style style) => member.Name switch
    {
        "state" => style.State(value, value),
        "error" => style.Bad(value),
        _ => value,
    };

    private static string OneLine(JsonElement element) => string.Join(", ", Pairs(element));

    private static IEnumerable<string> Pairs(JsonElement element) =>
        element.EnumerateObject().Where(member => member.Value.ValueKind != JsonValueKind.Null)
            .Select(member => $"{Words(member.Name)} {Value(member.Name, member.Value)}");

    private static bool IsBlock(JsonElement value) =>
        value.ValueKind == JsonValueKind.Object
            || (value.ValueKind == JsonValueKind.Array && value.GetArrayLength() > 0 && value[0].ValueKind == JsonValueKind.Object);

    private static string Value(string name, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.True => "yes",
        JsonValueKind.False => "no",
        JsonValueKind.String => Printable.Escape(value.GetString()!),
        JsonValueKind.Array => value.GetArrayLength() == 0 ? "none"
            : string.Join(", ", value.EnumerateArray().Select(item => Value("", item))),
        JsonValueKind.Number => Number(name, value),
        JsonValueKind.Object => OneLine(value),
        _ => "-",
    };

    private static string Number(string name, JsonElement value)
    {
        if (IsBytes(name) && value.TryGetInt64(out var bytes))
            return Quantity.Bytes(bytes);
        if (name.EndsWith("-ns", StringComparison.Ordinal))
            return Quantity.Nanoseconds(value.GetDouble());
        return value.TryGetInt64(out var whole) ? whole.ToString(CultureInfo.InvariantCulture)
            : value.GetDouble().ToString("0.###", CultureInfo.InvariantCulture);
    }

    private static bool IsBytes(string name) =>
        name is "bytes" or "size" or "granularity"
            || name.EndsWith("-bytes", StringComparison.Ordinal) || name.EndsWith("-size", StringComparison.Ordinal);

    /// <summary>A unit is told by the value's own unit then.</summary>
    private static string Words(string name)
    {
        var bare = name.EndsWith("-bytes", StringComparison.Ordinal) ? name[..^6]
            : name.EndsWith("-ns", StringComparison.Ordinal) ? name[..^3] : name;
        return bare.Replace('-', ' ');
    }
}
