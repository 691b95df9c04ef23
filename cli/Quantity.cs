using System;
using System.Globalization;

namespace Qcow2Blk.Cli;

/// <summary>Sizes and times as people write and read them.</summary>
internal static class Quantity
{
    private static readonly string[] s_units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

    /// <summary>"64 KiB", "1.5 GiB": three digits are enough for people.</summary>
    internal static string Bytes(long value)
    {
        double scaled = value;
        var unit = 0;
        while (scaled >= 1024 && unit < s_units.Length - 1)
        {
            scaled /= 1024;
            unit++;
        }

        var digits = scaled >= 100 || scaled == Math.Floor(scaled) ? "0" : scaled >= 10 ? "0.#" : "0.##";
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

    private static string Invariant(double value, string unit) =>
        $"{value.ToString(value >= 100 ? "0" : "0.#", CultureInfo.InvariantCulture)} {unit}";
}
