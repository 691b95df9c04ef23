using System;
using System.Buffers.Text;

namespace Qcow2Blk.Remote.Http;

/// <summary>What a Content-Range header says (RFC 9110, 14.4).</summary>
/// <param name="Start">the first byte that is sent; -1 if none is (as with 416)</param>
/// <param name="End">the last one</param>
/// <param name="Total">bytes of the object; -1 if the server does not say (*)</param>
internal readonly record struct ContentRange(long Start, long End, long Total)
{
    /// <summary>Reads the header's value.</summary>
    /// <returns>null if it says nothing that makes sense</returns>
    public static ContentRange? Parse(ReadOnlySpan<byte> value)
    {
        if (!value.StartsWith("bytes "u8))
            return null;
        value = value["bytes "u8.Length..].Trim((byte)' ');
        var slash = value.IndexOf((byte)'/');
        if (slash < 0)
            return null;
        long start = -1, end = -1, total = -1;
        if (!value[(slash + 1)..].SequenceEqual("*"u8) && !TryNumber(value[(slash + 1)..], out total))
            return null;
        var range = value[..slash];
        if (range.SequenceEqual("*"u8))
            return new ContentRange(start, end, total);
        var dash = range.IndexOf((byte)'-');
        return dash > 0 && TryNumber(range[..dash], out start) && TryNumber(range[(dash + 1)..], out end) && start <= end
            && (total < 0 || end < total) ? new ContentRange(start, end, total) : null;
    }

    /// <summary>Digits and nothing else, up to 2^63 - 1.</summary>
    internal static bool TryNumber(ReadOnlySpan<byte> text, out long number)
    {
        number = -1;
        return text.Length is > 0 and <= 19 && text.IndexOfAnyExceptInRange((byte)'0', (byte)'9') < 0
            && Utf8Parser.TryParse(text, out number, out var used) && used == text.Length;
    }

    public override string ToString() =>
        $"{(Start < 0 ? "*" : $"{Start}-{End}")}/{(Total < 0 ? "*" : Total.ToString(System.Globalization.CultureInfo.InvariantCulture))}";
}
