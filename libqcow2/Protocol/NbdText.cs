using System;

namespace Qcow2Blk.Protocol;

/// <summary>Strings of the protocol: UTF-8, no NUL, at most <see cref="NbdProtocol.MaxNameLength"/> bytes.</summary>
internal static class NbdText
{
    /// <summary>Cuts a text to the protocol's limit, at a character.</summary>
    public static ReadOnlySpan<byte> Truncate(ReadOnlySpan<byte> text) => Truncate(text, NbdProtocol.MaxNameLength);

    public static ReadOnlySpan<byte> Truncate(ReadOnlySpan<byte> text, int limit)
    {
        if (text.Length <= limit)
            return text;
        while (limit > 0 && (text[limit] & 0xc0) == 0x80)
            limit--;
        return text[..limit];
    }

    /// <summary>A name of the client as it may stand in a message: short, and without control characters.</summary>
    public static string Printable(string name)
    {
        const int limit = 100;
        var shown = name.Length <= limit ? name : string.Concat(name.AsSpan(0, limit), "...");
        return string.Create(shown.Length, shown, static (target, source) =>
        {
            for (var i = 0; i < source.Length; i++)
                target[i] = char.IsControl(source[i]) ? '?' : source[i];
        });
    }
}
