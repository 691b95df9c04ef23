using System;
using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>Reads the data of one option; every method returns false where the data is too short or no string.</summary>
internal ref struct OptionReader(ReadOnlySpan<byte> data)
{
    private ReadOnlySpan<byte> _rest = data;

    public readonly bool AtEnd => _rest.IsEmpty;

    public readonly int Remaining => _rest.Length;

    public bool TryReadUInt16(out ushort value)
    {
        var fits = BinaryPrimitives.TryReadUInt16BigEndian(_rest, out value);
        if (fits)
            _rest = _rest[2..];
        return fits;
    }

    public bool TryReadUInt32(out uint value)
    {
        var fits = BinaryPrimitives.TryReadUInt32BigEndian(_rest, out value);
        if (fits)
            _rest = _rest[4..];
        return fits;
    }

    /// <summary>A 32-bit length and as many bytes.</summary>
    public bool TryReadString(out ReadOnlySpan<byte> text)
    {
        text = default;
        if (!TryReadUInt32(out var length) || length > (uint)_rest.Length)
            return false;
        text = _rest[..(int)length];
        _rest = _rest[(int)length..];
        return true;
    }

    /// <summary>Checks what the specification demands of strings: UTF-8, no NUL, at most 4096 bytes.</summary>
    public static bool IsValidText(ReadOnlySpan<byte> text) =>
        text.Length <= NbdProtocol.MaxNameLength && Utf8.IsValid(text) && !text.Contains((byte)0);

    /// <summary>The text as a string; check with <see cref="IsValidText"/> first.</summary>
    public static string ToText(ReadOnlySpan<byte> text) => Encoding.UTF8.GetString(text);
}
