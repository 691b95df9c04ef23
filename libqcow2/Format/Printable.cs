using System;
using System.Globalization;
using System.Linq;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>Foreign text for people: names of files, snapshots and bitmaps must not steer a terminal or break a log's lines.</summary>
internal static class Printable
{
    /// <summary>The text with control characters as C writes them: \n, \t, \x1b.</summary>
    public static string Escape(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (!text.Any(IsUnsafe))
            return text;
        var escaped = new StringBuilder(text.Length + 8);
        foreach (var c in text)
        {
            if (IsUnsafe(c))
                escaped.Append(Escaped(c));
            else
                escaped.Append(c);
        }

        return escaped.ToString();
    }

    /// <summary>Bytes that are not UTF-8, the printable ones of ASCII as they are: b\xe9se.</summary>
    public static string Escape(ReadOnlySpan<byte> bytes)
    {
        var escaped = new StringBuilder(bytes.Length + 8);
        foreach (var value in bytes)
        {
            if (value is >= 0x20 and < 0x7f)
                escaped.Append((char)value);
            else
                escaped.Append(CultureInfo.InvariantCulture, $"\\x{value:x2}");
        }

        return escaped.ToString();
    }

    /// <summary>Line and paragraph separators break lines in some terminals; the others turn the direction of writing around.</summary>
    private static bool IsUnsafe(char c) =>
        char.IsControl(c) || c is '\u2028' or '\u2029' or (>= '\u202a' and <= '\u202e') or (>= '\u2066' and <= '\u2069');

    private static string Escaped(char c) => c switch
    {
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        < '\x100' => string.Create(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"),
    };
}
