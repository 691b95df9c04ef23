using System;
using System.Diagnostics;
using System.Linq;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Metrics;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Metrics;

/// <summary>The text against the parser of Prometheus' own Python client, which is strict about OpenMetrics.</summary>
public sealed class OpenMetricsTests
{
    private const string Python = "/usr/bin/python3";

    // Families with their samples as JSON, by the parser that is named.
    private const string Script = """
        import importlib, json, sys
        parse = importlib.import_module(sys.argv[1]).text_string_to_metric_families
        json.dump([{"name": f.name, "type": f.type, "unit": f.unit, "help": f.documentation,
                    "samples": [{"name": s.name, "labels": s.labels, "value": str(s.value)} for s in f.samples]}
                   for f in parse(sys.stdin.read())], sys.stdout)
        """;

    private static readonly Lazy<bool> s_hasParser = new(() => Run("-c", "import prometheus_client", "").Status == 0);

    [Fact]
    public void Strict_parser_reads_every_family_with_its_type_unit_and_help()
    {
        var families = Parse("prometheus_client.openmetrics.parser", SampleStatus.Full, SampleStatus.Dead);

        Assert.Equal(
            MetricTable.All.Select(metric => (metric.Name, OpenMetrics.Word(metric.Type), metric.Unit, metric.Help)),
            families.EnumerateArray().Select(family => (family.GetProperty("name").GetString()!, family.GetProperty("type").GetString()!,
                family.GetProperty("unit").GetString()!, family.GetProperty("help").GetString()!)));
    }

    [Fact]
    public void Strict_parser_reads_every_sample_with_its_labels_and_value()
    {
        var families = Parse("prometheus_client.openmetrics.parser", SampleStatus.Full, SampleStatus.Dead);

        var expected = OpenMetrics.Collect([SampleStatus.Full, SampleStatus.Dead]).SelectMany(list => list.Samples)
            .Select(sample => $"{sample.Name} {string.Join(' ', sample.Labels.OrderBy(label => label.Name))} {sample.Value:R}");
        Assert.Equal(expected, families.EnumerateArray().SelectMany(family => family.GetProperty("samples").EnumerateArray()).Select(Text));
    }

    [Fact]
    public void Older_format_of_the_textfile_collector_reads_the_same_numbers()
    {
        var families = Parse("prometheus_client.parser", SampleStatus.Full);

        var expected = OpenMetrics.Collect([SampleStatus.Full]).SelectMany(list => list.Samples)
            .Select(sample => $"{sample.Name} {string.Join(' ', sample.Labels.OrderBy(label => label.Name))} {sample.Value:R}");
        var read = families.EnumerateArray().SelectMany(family => family.GetProperty("samples").EnumerateArray()).Select(Text);
        Assert.Equal(expected.Order(), read.Order());
    }

    [Fact]
    public void Buckets_hold_all_that_took_no_longer_in_seconds()
    {
        var text = OpenMetrics.Format([SampleStatus.Full]);

        Assert.Contains("""
            qcow2blk_request_duration_seconds_bucket{name="disk",operation="read",le="1e-06"} 4
            qcow2blk_request_duration_seconds_bucket{name="disk",operation="read",le="2e-06"} 9
            qcow2blk_request_duration_seconds_bucket{name="disk",operation="read",le="4e-06"} 10
            qcow2blk_request_duration_seconds_bucket{name="disk",operation="read",le="0.001024"} 10
            qcow2blk_request_duration_seconds_bucket{name="disk",operation="read",le="+Inf"} 10
            qcow2blk_request_duration_seconds_count{name="disk",operation="read"} 10
            qcow2blk_request_duration_seconds_sum{name="disk",operation="read"} 1.5e-05

            """, text, StringComparison.Ordinal);
    }

    [Fact]
    public void What_lies_above_the_last_bound_is_counted()
    {
        var status = Encoding.UTF8.GetBytes("""
            {"name":"d","requests":{"read-time-ns":5},"latency":{"histogram":{"le-ns":[1000],"reads":[2,3]}}}
            """);
        Assert.Contains("le=\"+Inf\"} 5\n", OpenMetrics.Format([status]), StringComparison.Ordinal);
    }

    [Fact]
    public void Server_of_a_version_without_histograms_has_none()
    {
        var status = Encoding.UTF8.GetBytes("""{"name":"d","state":"running","requests":{"reads":1},"latency":{"p50-ns":1}}""");
        var text = OpenMetrics.Format([status]);
        Assert.DoesNotContain("duration", text, StringComparison.Ordinal);
        Assert.Contains("qcow2blk_requests_total{name=\"d\",operation=\"read\"} 1\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void State_that_this_version_does_not_know_is_shown()
    {
        var text = OpenMetrics.Format([Encoding.UTF8.GetBytes("""{"name":"d","state":"dreaming"}""")]);
        Assert.Contains("qcow2blk_device_state{name=\"d\",state=\"dreaming\"} 1\n", text, StringComparison.Ordinal);
        Assert.Contains("qcow2blk_device_state{name=\"d\",state=\"running\"} 0\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void No_device_is_an_empty_document() => Assert.Equal("# EOF\n", OpenMetrics.Format([]));

    private static string Text(JsonElement sample)
    {
        var labels = sample.GetProperty("labels").EnumerateObject().Select(label => (label.Name, label.Value.GetString()))
            .OrderBy(label => label.Name);
        var value = double.Parse(sample.GetProperty("value").GetString()!, System.Globalization.CultureInfo.InvariantCulture);
        return $"{sample.GetProperty("name").GetString()} {string.Join(' ', labels)} {value:R}";
    }

    private static JsonElement Parse(string parser, params ReadOnlyMemory<byte>[] statuses)
    {
        Assert.SkipUnless(s_hasParser.Value, "no python3-prometheus-client");
        (var status, var output, var errors) = Run("-c", Script, OpenMetrics.Format(statuses), parser);
        Assert.True(status == 0, errors);
        return JsonDocument.Parse(output).RootElement;
    }

    private static (int Status, string Output, string Errors) Run(string option, string script, string input, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(Python, [option, script, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.GetAwaiter().GetResult());
    }
}
