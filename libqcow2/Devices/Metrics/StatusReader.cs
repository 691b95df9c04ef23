using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text.Json;

namespace Qcow2Blk.Devices.Metrics;

/// <summary>Looks for members of a "status" object (docs/json.md): any may be missing, because servers of any version answer.</summary>
internal readonly struct StatusReader(JsonElement status)
{
    /// <returns>null if there is no number there</returns>
    public double? Number(params ReadOnlySpan<string> path) =>
        Find(path) is { ValueKind: JsonValueKind.Number } number ? number.GetDouble() : null;

    /// <returns>null if there is no text there</returns>
    public string? Text(params ReadOnlySpan<string> path) =>
        Find(path) is { ValueKind: JsonValueKind.String } text ? text.GetString() : null;

    /// <returns>null if there is neither yes nor no there</returns>
    public bool? Flag(params ReadOnlySpan<string> path) => Find(path)?.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => null,
    };

    /// <returns>null if there is no array there</returns>
    public int? Count(params ReadOnlySpan<string> path) =>
        Find(path) is { ValueKind: JsonValueKind.Array } array ? array.GetArrayLength() : null;

    /// <returns>the objects of an array; empty if there is none there</returns>
    public IEnumerable<StatusReader> Each(params ReadOnlySpan<string> path)
    {
        var found = new List<StatusReader>();
        if (Find(path) is { ValueKind: JsonValueKind.Array } array)
        {
            foreach (var item in array.EnumerateArray())
                found.Add(new StatusReader(item));
        }

        return found;
    }

    /// <returns>empty if there is no array of numbers there</returns>
    public double[] Numbers(params ReadOnlySpan<string> path)
    {
        if (Find(path) is not { ValueKind: JsonValueKind.Array } array)
            return [];
        var numbers = new double[array.GetArrayLength()];
        var index = 0;
        foreach (var item in array.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Number)
                return [];
            numbers[index++] = item.GetDouble();
        }

        return numbers;
    }

    /// <returns>seconds since 1970; null if there is no time there</returns>
    public double? Time(params ReadOnlySpan<string> path) =>
        DateTimeOffset.TryParse(Text(path), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? time.ToUnixTimeMilliseconds() / 1000.0 : null;

    private JsonElement? Find(ReadOnlySpan<string> path)
    {
        var element = status;
        foreach (var name in path)
        {
            if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty(name, out element))
                return null;
        }

        return element;
    }
}
