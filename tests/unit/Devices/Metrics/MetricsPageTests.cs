using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.RegularExpressions;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Metrics;
using Qcow2Blk.Tests.Tidy;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Metrics;

/// <summary>Dashboards and alerts rely on names: what is printed, what docs/metrics.md lists and what ours asks for agree.</summary>
public sealed partial class MetricsPageTests
{
    private const string Page = "docs/metrics.md", Dashboard = "docs/grafana/qcow2blk.json";

    [Fact]
    public void Page_lists_what_is_printed_of_a_device_that_has_everything()
    {
        var printed = OpenMetrics.Collect([SampleStatus.Full]).Select(Row);
        if (Environment.GetEnvironmentVariable("QCOW2BLK_WRITE_DOCS") is not null)
            Write(printed);

        Assert.Equal(printed, SourceTree.Read(Page).Split('\n').Where(line => line.StartsWith("| `qcow2blk_", StringComparison.Ordinal)));
    }

    [Fact]
    public void Device_that_has_everything_has_every_metric() =>
        Assert.Equal(MetricTable.All.Select(metric => metric.Name),
            OpenMetrics.Collect([SampleStatus.Full]).Select(list => list.Metric.Name));

    [Fact]
    public void Dashboard_asks_only_for_samples_that_are_printed()
    {
        var printed = OpenMetrics.Collect([SampleStatus.Full]).SelectMany(list => list.Samples).Select(sample => sample.Name).ToHashSet();
        using var dashboard = JsonDocument.Parse(SourceTree.Read(Dashboard));

        var asked = Queries(dashboard.RootElement).SelectMany(query => Name().Matches(query).Select(match => match.Value)).ToHashSet();

        Assert.InRange(asked.Count, 10, printed.Count);
        Assert.Empty(asked.Except(printed));
    }

    [Fact]
    public void Dashboard_selects_by_labels_that_are_printed()
    {
        var printed = OpenMetrics.Collect([SampleStatus.Full]).SelectMany(list => list.Samples)
            .SelectMany(sample => sample.Labels.Select(label => label.Name)).Append("instance").ToHashSet();
        using var dashboard = JsonDocument.Parse(SourceTree.Read(Dashboard));

        var asked = Queries(dashboard.RootElement)
            .SelectMany(query => Grouping().Matches(query).SelectMany(match => match.Groups[1].Value.Split(','))).ToHashSet();

        Assert.NotEmpty(asked);
        Assert.Empty(asked.Except(printed));
    }

    [Fact]
    public void Every_state_of_a_server_is_a_state_of_the_metric()
    {
        var states = Enum.GetValues<DeviceState>().Select(state => DeviceStates.Words.Of(state));
        Assert.Empty(states.Except(MetricTable.States));
    }

    private static IEnumerable<string> Queries(JsonElement dashboard)
    {
        foreach (var panel in dashboard.GetProperty("panels").EnumerateArray())
        {
            foreach (var target in panel.GetProperty("targets").EnumerateArray())
                yield return target.GetProperty("expr").GetString()!;
        }

        foreach (var variable in dashboard.GetProperty("templating").GetProperty("list").EnumerateArray())
        {
            if (variable.TryGetProperty("definition", out var definition))
                yield return definition.GetString()!;
        }
    }

    private static string Row(SampleList list)
    {
        var labels = list.Samples.SelectMany(sample => sample.Labels.Skip(1)).GroupBy(label => label.Name).Select(Describe);
        var metric = list.Metric;
        return $"| `{metric.Name}` | {OpenMetrics.Word(metric.Type)} | {metric.Unit} | {string.Join(", ", labels)} | {metric.Help} |";
    }

    /// <summary>The values of labels that have few of them are part of the promise.</summary>
    private static string Describe(IGrouping<string, (string Name, string Value)> label)
    {
        string[] values = [.. label.Select(pair => pair.Value).Distinct()];
        return label.Key is "operation" or "reason" or "state"
            ? $"`{label.Key}`: {string.Join(", ", values.Select(value => $"`{value}`"))}" : $"`{label.Key}`";
    }

    private static void Write(IEnumerable<string> rows)
    {
        var kept = SourceTree.Read(Page).Split('\n').Where(line => !line.StartsWith("| `qcow2blk_", StringComparison.Ordinal)).ToList();
        kept.InsertRange(kept.FindIndex(line => line.StartsWith("|---|---|---|---|---|", StringComparison.Ordinal)) + 1, rows);
        File.WriteAllText(Path.Combine(SourceTree.Root, Page), string.Join('\n', kept));
    }

    [GeneratedRegex(@"\bqcow2blk_\w+")]
    private static partial Regex Name();

    [GeneratedRegex(@"\b(?:by|on|group_left) ?\(([a-z,]+)\)")]
    private static partial Regex Grouping();
}
