using System.Globalization;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Edits;

/// <summary>A size as <c>qemu-img resize</c> takes it: 10G, or +10G and -1.5G for how much larger or smaller.</summary>
/// <param name="Sign">0 for a size; else 1 or -1</param>
/// <param name="Bytes">the size, or the difference</param>
internal readonly record struct SizeChange(int Sign, decimal Bytes)
{
    private const string Suffixes = "KMGTPE";

    /// <exception cref="OutcomeException">it is not a size</exception>
    public static SizeChange Parse(string text)
    {
        var sign = text.StartsWith('+') ? 1 : text.StartsWith('-') ? -1 : 0;
        var number = sign == 0 ? text : text[1..];
        var shift = 0;
        if (number.Length > 0 && char.IsAsciiLetter(number[^1]))
        {
            // "10G", "10GB" and "10GiB" are the same, and a B of its own is a byte.
            var digits = number.TrimEnd('b', 'B');
            digits = digits.Length > 1 && digits[^1] == 'i' && digits.Length < number.Length ? digits[..^1] : digits;
            shift = digits.Length == 0 ? 0 : (Suffixes.IndexOf(char.ToUpperInvariant(digits[^1]), System.StringComparison.Ordinal) + 1) * 10;
            number = shift > 0 ? digits[..^1] : digits;
        }

        var styles = shift > 0 ? NumberStyles.AllowDecimalPoint : NumberStyles.None;
        return number.Length is > 0 and <= 20 && char.IsAsciiDigit(number[0])
            && decimal.TryParse(number, styles, CultureInfo.InvariantCulture, out var value)
            ? new SizeChange(sign, value * (1L << shift))
            : throw new OutcomeException(OutcomeKind.Invalid, $"{text} is not a size",
                "a size is a number, optionally followed by K, M, G, T, P or E; + or - before it means larger or smaller by that");
    }

    /// <summary>What a disk of this size becomes: whole sectors.</summary>
    /// <param name="before">bytes that it has</param>
    /// <param name="isRounded">whether more was added than was asked for</param>
    /// <returns>null if there can be no such disk: none of no bytes, none of more than a file can have</returns>
    public long? Of(long before, out bool isRounded)
    {
        var bytes = Sign == 0 ? Bytes : before + (Sign * Bytes);
        isRounded = false;
        if (bytes is <= 0 or > Limits.MaxFileBytes)
            return null;
        var whole = (long)decimal.Ceiling(bytes);
        var size = Rounding.Up(whole, 512);
        isRounded = size != bytes;
        return size <= Limits.MaxFileBytes ? size : null;
    }
}
