using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Qcow2Blk.Abi;

/// <summary>Strings across the border: UTF-8, with a NUL at the end.</summary>
internal static unsafe class Text
{
    /// <returns>null for NULL</returns>
    public static string? Of(byte* text) => Marshal.PtrToStringUTF8((nint)text);

    /// <summary>Fills in a caller's buffer as snprintf does.</summary>
    /// <returns>the length of the whole text, or a negative errno</returns>
    public static nint Fill(string text, byte* buffer, nuint size) => Fill(Encoding.UTF8.GetBytes(text), buffer, size);

    /// <inheritdoc cref="Fill(string, byte*, nuint)"/>
    public static nint Fill(ReadOnlySpan<byte> text, byte* buffer, nuint size)
    {
        if (size == 0)
            return text.Length;
        if (buffer is null)
            return LastError.Missing();
        var length = (int)Math.Min((nuint)text.Length, size - 1);
        text[..length].CopyTo(new Span<byte>(buffer, length));
        buffer[length] = 0;
        return text.Length;
    }
}
