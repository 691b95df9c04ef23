using System.Text;
using System.Text.Json;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Options;

/// <summary>What a reader stands on, for messages.</summary>
internal static class JsonText
{
    /// <summary>More of a foreign text helps nobody.</summary>
    private const int MaxLength = 64;

    public static string Of(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.StartObject => "{…}",
        JsonTokenType.StartArray => "[…]",
        JsonTokenType.String => $"\"{Short(ref reader)}\"",
        _ => Short(ref reader),
    };

    private static string Short(ref Utf8JsonReader reader)
    {
        var bytes = reader.ValueSpan;
        var isLong = bytes.Length > MaxLength;
        return Printable.Escape(Encoding.UTF8.GetString(isLong ? bytes[..MaxLength] : bytes)) + (isLong ? "…" : "");
    }
}
