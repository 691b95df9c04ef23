using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.Json;

namespace Qcow2Blk.Devices.Metrics;

/// <summary>
/// The status of devices in the text format of OpenMetrics 1.0, of the parts that readers of the older Prometheus format
/// understand as well: node_exporter's textfile collector is one of those.
/// </summary>
internal static class OpenMetrics
{
    /// <param name="statuses">"status" objects (docs/json.md), of different devices</param>
    public static IReadOnlyList<SampleList> Collect(IEnumerable<ReadOnlyMemory<byte>> statuses)
    {
        SampleList[] lists = [.. MetricTable.All.Select(metric => new SampleList(metric))];
        foreach (var status in statuses)
        {
            using var document = JsonDocument.Parse(status);
            foreach (var list in lists)
                list.Read(new StatusReader(document.RootElement));
        }

        return [.. lists.Where(list => list.Samples.Count > 0)];
    }

    /// <summary>As above, as text.</summary>
    public static string Format(IEnumerable<ReadOnlyMemory<byte>> statuses)
    {
        var text = new StringBuilder();
        foreach (var list in Collect(statuses))
            Append(text, list);
        return text.Append("# EOF\n").ToString();
    }

    /// <summary>As Go writes it, which is what readers compare bounds with.</summary>
    internal static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture).Replace('E', 'e');

    /// <summary>The word of a type.</summary>
    public static string Word(MetricType type) => type switch
    {
        MetricType.Counter => "counter",
        MetricType.Histogram => "histogram",
        _ => "gauge",
    };

    private static void Append(StringBuilder text, SampleList list)
    {
        var metric = list.Metric;
        text.Append(CultureInfo.InvariantCulture, $"# TYPE {metric.Name} {Word(metric.Type)}\n");
        if (metric.Unit.Length > 0)
            text.Append(CultureInfo.InvariantCulture, $"# UNIT {metric.Name} {metric.Unit}\n");
        text.Append(CultureInfo.InvariantCulture, $"# HELP {metric.Name} {Escaped(metric.Help)}\n");
        foreach (var sample in list.Samples)
        {
            var labels = string.Join(',', sample.Labels.Select(label => $"{label.Name}=\"{Escaped(label.Value)}\""));
            text.Append(CultureInfo.InvariantCulture, $"{sample.Name}{{{labels}}} {Number(sample.Value)}\n");
        }
    }

    /// <summary>Names of files may have anything in them.</summary>
    private static string Escaped(string text) =>
        text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)
            .Replace("\n", "\\n", StringComparison.Ordinal);
}
