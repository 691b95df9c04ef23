using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Qcow2Blk.Format;

namespace Qcow2Blk.Cli.Top;

/// <summary>A column of <c>top</c>.</summary>
/// <param name="Name">as it is given to --sort</param>
/// <param name="Key">the key that sorts by it</param>
/// <param name="Title">what stands above it</param>
/// <param name="Meaning">what help says of it</param>
/// <param name="Text">what is shown of a device</param>
/// <param name="Number">what it is sorted by; null: by its text. The largest comes first, and what is not known last</param>
internal sealed record TopColumn(string Name, char Key, string Title, string Meaning,
    Func<DeviceRate, string> Text, Func<DeviceRate, double?>? Number)
{
    private const string Unknown = "-";

    /// <summary>All of them, as they stand from left to right. The last one gets the room that is left.</summary>
    internal static IReadOnlyList<TopColumn> All { get; } =
    [
        new("name", 'n', "NAME", "name of the device", rate => Printable.Escape(rate.Now.Answer.Record.Name), null),
        new("state", 's', "STATE", "its state; dead and silent servers are shown, too", rate => rate.Now.State, null),
        new("reads", 'r', "R IOPS", "reads a second", rate => Count(rate.Reads), rate => rate.Reads),
        new("writes", 'w', "W IOPS", "writes a second", rate => Count(rate.Writes), rate => rate.Writes),
        new("read-bytes", 't', "READ/S", "bytes read a second", rate => Bytes(rate.BytesRead), rate => rate.BytesRead),
        new("written-bytes", 'u', "WRITE/S", "bytes written a second", rate => Bytes(rate.BytesWritten), rate => rate.BytesWritten),
        new("average", 'a', "AVG", "how long a request took in the interval",
            rate => Time(rate.AverageNanoseconds), rate => rate.AverageNanoseconds),
        new("p99", 'p', "P99", "what 99 of 100 requests of the interval stayed below",
            rate => Time(rate.P99Nanoseconds), rate => rate.P99Nanoseconds),
        new("hits", 'h', "HITS", "L2 tables that were in the cache", rate => Percent(rate.HitPercent), rate => rate.HitPercent),
        new("cached", 'c', "CACHED", "how much of its bases in stores is in the cache",
            rate => Percent(rate.CachedPercent), rate => rate.CachedPercent) { IsOfBases = true },
        new("base-hits", 'b', "BHITS", "reads of those bases that the cache answered",
            rate => Percent(rate.BaseHitPercent), rate => rate.BaseHitPercent) { IsOfBases = true },
        new("fetch", 'e', "FETCH99", "what 99 of 100 fetches from their sources stayed below, since the server started",
            rate => Time(rate.Now.FetchP99Nanoseconds), rate => rate.Now.FetchP99Nanoseconds) { IsOfBases = true },
        new("in-flight", 'f', "FLIGHT", "requests that are being served", rate => Count(rate.Now.InFlight), rate => rate.Now.InFlight),
        new("waiting", 'x', "WAIT", "requests that wait for space, a limit or the source of a base",
            rate => Count(rate.Now.Waiting), rate => rate.Now.Waiting),
        new("image", 'i', "IMAGE", "the image file", rate => Printable.Escape(rate.Now.Answer.Record.Image), null),
    ];

    /// <summary>Whether it is about bases in stores: it is shown only if a device has one.</summary>
    internal bool IsOfBases { get; private init; }

    internal bool IsNumber => Number is not null;

    /// <summary>Those that say something of these devices.</summary>
    internal static IEnumerable<TopColumn> For(IEnumerable<DeviceRate> rates)
    {
        var hasBases = rates.Any(rate => rate.Now.BytesOfBases is not null);
        return All.Where(column => hasBases || !column.IsOfBases);
    }

    internal static TopColumn? ByName(string name) => All.FirstOrDefault(column => column.Name == name);

    /// <summary>The devices in the order of this column; those that are equal by name.</summary>
    internal IEnumerable<DeviceRate> Sorted(IEnumerable<DeviceRate> rates, bool reversed)
    {
        var byName = rates.OrderBy(rate => rate.Now.Answer.Record.Name, StringComparer.Ordinal);
        if (Number is not { } number)
            return reversed ? byName.OrderByDescending(Text, StringComparer.Ordinal) : byName.OrderBy(Text, StringComparer.Ordinal);
        return reversed ? byName.OrderBy(rate => number(rate) ?? double.PositiveInfinity)
            : byName.OrderByDescending(rate => number(rate) ?? double.NegativeInfinity);
    }

    private static string Count(double? value) => value switch
    {
        null => Unknown,
        < 9.95 and > 0 when value != Math.Floor(value.Value) => value.Value.ToString("0.0", CultureInfo.InvariantCulture),
        < 99_999.5 => value.Value.ToString("0", CultureInfo.InvariantCulture),
        < 9_999_500 => (value.Value / 1e3).ToString("0", CultureInfo.InvariantCulture) + "k",
        _ => (value.Value / 1e6).ToString("0.0", CultureInfo.InvariantCulture) + "M",
    };

    private static string Bytes(double? value) => value is { } bytes ? Quantity.Bytes((long)Math.Round(bytes)) : Unknown;

    private static string Time(double? value) => value is { } time ? Quantity.Nanoseconds(time) : Unknown;

    private static string Percent(double? value) =>
        value is { } percent ? Math.Floor(percent).ToString("0", CultureInfo.InvariantCulture) + "%" : Unknown;
}
