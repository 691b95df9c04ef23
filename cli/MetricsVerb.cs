using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Metrics;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk metrics [TARGET...]</c>.</summary>
internal sealed class MetricsVerb : Verb
{
    /// <summary>Less than what Prometheus waits for.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);

    private readonly Argument<string[]> _targets = Targets.Any();
    private readonly Option<string> _output =
        Text("--output", "FILE", "replace FILE as a whole, for the textfile collector of node_exporter [default: standard output]");
    private readonly Option<bool> _json = JsonFlag();

    public MetricsVerb()
        : base("metrics", "print counters and latency of devices for Prometheus (OpenMetrics text)",
            "qcow2blk metrics",
            "qcow2blk metrics --output /var/lib/prometheus/node-exporter/qcow2blk.prom")
    {
        Arguments.Add(_targets);
        Options.Add(_output);
        Options.Add(_json);
        Does(Print);
    }

    private ExitCode Print(ParseResult parsed)
    {
        var registry = Targets.Registry();
        var entries = Targets.Find(registry, parsed.GetValue(_targets));
        var statuses = new DevicePoll(registry).Ask(entries, s_patience).Select(answer => answer.Status);
        var text = parsed.GetValue(_json)
            ? Output.AsJson(writer => WriteAll(writer, OpenMetrics.Collect(statuses)))
            : Encoding.UTF8.GetBytes(OpenMetrics.Format(statuses));
        if (parsed.GetValue(_output) is { } file)
            Replace(FilePath.Absolute(file), text);
        else
            Output.Raw(text.Span);
        return ExitCode.Done;
    }

    /// <summary>Who reads the file meanwhile sees the old one or the new one, never half of one.</summary>
    private static void Replace(string path, ReadOnlyMemory<byte> text)
    {
        // The collector reads what ends in ".prom": not this one.
        var draft = Path.Combine(Path.GetDirectoryName(path) ?? "/", $".{Path.GetFileName(path)}.{Environment.ProcessId}");
        try
        {
            using (var file = new FileStream(draft, FileMode.CreateNew, FileAccess.Write))
            {
                // Readable for the collector, whatever the umask of a timer is.
                File.SetUnixFileMode(file.SafeFileHandle,
                    UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
                file.Write(text.Span);
            }

            File.Move(draft, path, overwrite: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            if (File.Exists(draft))
                File.Delete(draft);
            throw new OutcomeException(OutcomeKind.Failed, $"cannot write {path}", Why(path, error), null, error);
        }
    }

    private static string Why(string path, Exception error) => error switch
    {
        DirectoryNotFoundException => "its directory does not exist",
        UnauthorizedAccessException => Directory.Exists(path) ? "it is a directory" : "permission denied",
        _ => Directory.Exists(path) ? "it is a directory" : error.Message,
    };

    private static void WriteAll(Utf8JsonWriter writer, IReadOnlyList<SampleList> lists)
    {
        writer.WriteStartArray();
        foreach (var list in lists)
        {
            writer.WriteStartObject();
            writer.WriteString("name"u8, list.Metric.Name);
            writer.WriteString("type"u8, OpenMetrics.Word(list.Metric.Type));
            writer.WriteString("unit"u8, list.Metric.Unit);
            writer.WriteString("help"u8, list.Metric.Help);
            writer.WriteStartArray("samples"u8);
            foreach (var sample in list.Samples)
                Write(writer, sample);
            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void Write(Utf8JsonWriter writer, Sample sample)
    {
        writer.WriteStartObject();
        writer.WriteString("name"u8, sample.Name);
        writer.WriteStartObject("labels"u8);
        foreach ((var name, var value) in sample.Labels)
            writer.WriteString(name, value);
        writer.WriteEndObject();
        writer.WriteNumber("value"u8, sample.Value);
        writer.WriteEndObject();
    }
}
