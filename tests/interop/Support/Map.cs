using System.Collections.Generic;
using System.Linq;
using System.Text.Json;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Where an image's data lies, as others see it.</summary>
internal static class Map
{
    /// <summary>Bytes of the disk that qemu-img calls data in the image itself.</summary>
    public static long Data(string image) =>
        Json(Run.QemuImg("map", "--output=json", "-f", "qcow2", image)).Where(extent => extent.GetProperty("data").GetBoolean())
            .Sum(extent => extent.GetProperty("length").GetInt64());

    /// <summary>One context of an export as nbdinfo shows it, equal neighbours joined.</summary>
    public static (long Start, long End, long Type)[] Context(string uri, string context)
    {
        var joined = new List<(long Start, long End, long Type)>();
        foreach (var extent in Json(Run.Program("nbdinfo", "--map=" + context, "--json", uri).Passed()))
        {
            long start = extent.GetProperty("offset").GetInt64(), type = extent.GetProperty("type").GetInt64();
            var end = start + extent.GetProperty("length").GetInt64();
            if (joined.Count > 0 && joined[^1].Type == type)
                joined[^1] = joined[^1] with { End = end };
            else
                joined.Add((start, end, type));
        }

        return [.. joined];
    }

    private static JsonElement[] Json(Outcome outcome) => [.. JsonDocument.Parse(outcome.Output).RootElement.EnumerateArray()];
}
