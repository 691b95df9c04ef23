using System;
using System.Globalization;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary>Spans of time as people write and read them.</summary>
internal static class Duration
{
    /// <summary>Seconds, or a whole number with a unit: 90, 90s, 15m, 12h, 7d.</summary>
    /// <exception cref="OutcomeException">usage</exception>
    internal static TimeSpan Parse(string said, string text)
    {
        // Longer than any machine runs, and far from the end of the calendar.
        const long mostDays = 36500;
        long unit = text is [.., var last] ? last switch
        {
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => 1,
        } : 1;
        var digits = text is [.., 's' or 'm' or 'h' or 'd'] ? text[..^1] : text;
        if (long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value <= mostDays * 86400 / unit)
            return TimeSpan.FromSeconds(value * unit);
        throw new OutcomeException(
            OutcomeKind.Invalid, $"{said} {text} is not a time",
                $"a time is a number, optionally followed by s, m, h or d, up to {mostDays}d");
    }

    /// <summary>"now", "5 min", "3 h", "12 d": since then.</summary>
    internal static string Ago(TimeSpan span) => span.TotalMinutes < 1 ? "now"
        : span.TotalHours < 1 ? string.Create(CultureInfo.InvariantCulture, $"{span.TotalMinutes:0} min")
        : span.TotalDays < 2 ? string.Create(CultureInfo.InvariantCulture, $"{span.TotalHours:0} h")
        : string.Create(CultureInfo.InvariantCulture, $"{span.TotalDays:0} d");
}
