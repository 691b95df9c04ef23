using System;
using System.Globalization;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary>Sizes and times as people write and read them.</summary>
internal static class Quantity
{
    private static readonly string[] s_units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

    /// <summary>"64 KiB", "1.5 GiB": three digits are enough for people.</summary>
    internal static string Bytes(long value)
    {
        double scaled = value;
        int unit = 0;
        while (scaled >= 1024 && unit < s_units.Length - 1)
        {
            scaled /= 1024;
            unit++;
        }
        string digits = scaled >= 100 || scaled == Math.Floor(scaled) ? "0" : scaled >= 10 ? "0.#" : "0.##";
        return $"{scaled.ToString(digits, CultureInfo.InvariantCulture)} {s_units[unit]}";
    }

    /// <summary>"850 ns", "12.3 us", "4.1 ms", "2 s".</summary>
    internal static string Nanoseconds(double value) => value switch
    {
        < 1e3 => Invariant(value, "ns"),
        < 1e6 => Invariant(value / 1e3, "us"),
        < 1e9 => Invariant(value / 1e6, "ms"),
        _ => Invariant(value / 1e9, "s"),
    };

    /// <summary>Reads 4096, 64K, 16M, 1G (powers of 1024, "iB" allowed).</summary>
    /// <exception cref="OutcomeException">usage</exception>
    internal static long ParseBytes(string option, string text)
    {
        string digits = text.TrimEnd("iBb".ToCharArray());
        int shift = digits.Length == 0 ? 0 : char.ToUpperInvariant(digits[^1]) switch
        {
            'K' => 10,
            'M' => 20,
            'G' => 30,
            'T' => 40,
            _ => 0,
        };
        if (shift > 0)
            digits = digits[..^1];
        if (long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out long value) && value <= long.MaxValue >> shift)
            return value << shift;
        throw new OutcomeException(OutcomeKind.Invalid, $"{option} {text} is no size", "a size is a number and perhaps K, M, G or T");
    }

    private static string Invariant(double value, string unit)
        => $"{value.ToString(value >= 100 ? "0" : "0.#", CultureInfo.InvariantCulture)} {unit}";
}
