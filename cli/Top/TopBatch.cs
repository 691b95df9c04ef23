using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Devices.Metrics;

namespace Qcow2Blk.Cli.Top;

/// <summary><c>top --batch</c>: a table, or a line of JSON, for each interval.</summary>
internal static class TopBatch
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    /// <param name="rates">what is shown</param>
    /// <param name="interval">how often</param>
    /// <param name="column">what it is sorted by</param>
    /// <param name="count">how many times; null: without end</param>
    /// <param name="json">lines of JSON</param>
    internal static ExitCode Run(DeviceRates rates, TimeSpan interval, TopColumn column, int? count, bool json)
    {
        _ = rates.Look(s_patience);
        var due = Environment.TickCount64;
        for (var round = 0; count is null || round < count; round++)
        {
            due += (long)interval.TotalMilliseconds;
            Thread.Sleep((int)Math.Max(0, due - Environment.TickCount64));
            DeviceRate[] seen = [.. column.Sorted(rates.Look(s_patience), reversed: false)];
            if (json)
                Output.JsonLine(writer => Write(writer, seen, interval));
            else
                Output.Write((round > 0 ? "\n" : "") + AsTable(seen));
        }

        return ExitCode.Done;
    }

    private static string AsTable(IReadOnlyList<DeviceRate> rates)
    {
        TopColumn[] columns = [.. TopColumn.For(rates)];
        var table = new Table([.. columns.Select(column => column.Title)]);
        foreach (var rate in rates)
            table.Add([.. columns.Select(column => column.Text(rate))]);
        return table.ToString();
    }

    private static void Write(Utf8JsonWriter writer, IEnumerable<DeviceRate> rates, TimeSpan interval)
    {
        writer.WriteStartObject();
        writer.WriteString("time"u8, DateTime.UtcNow.ToString("O"));
        writer.WriteNumber("interval"u8, interval.TotalSeconds);
        writer.WriteStartArray("devices"u8);
        foreach (var rate in rates)
            Write(writer, rate);
        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter writer, DeviceRate rate)
    {
        using var status = JsonDocument.Parse(rate.Now.Answer.Status);
        var reader = new StatusReader(status.RootElement);
        writer.WriteStartObject();
        writer.WriteString("name"u8, rate.Now.Answer.Record.Name);
        writer.WriteString("state"u8, rate.Now.State);
        writer.WriteString("uri"u8, reader.Text("uri"));
        writer.WriteString("device"u8, reader.Text("device"));
        writer.WriteString("image"u8, rate.Now.Answer.Record.Image);
        Write(writer, "reads-per-second", rate.Reads);
        Write(writer, "writes-per-second", rate.Writes);
        Write(writer, "others-per-second", rate.Others);
        Write(writer, "read-bytes-per-second", rate.BytesRead);
        Write(writer, "written-bytes-per-second", rate.BytesWritten);
        Write(writer, "average-ns", rate.AverageNanoseconds);
        Write(writer, "p99-ns", rate.P99Nanoseconds);
        Write(writer, "cache-hit-percent", rate.HitPercent);
        Write(writer, "fetched-bytes-per-second", rate.BytesFetched);
        Write(writer, "base-cached-percent", rate.CachedPercent);
        Write(writer, "base-hit-percent", rate.BaseHitPercent);
        Write(writer, "fetch-p99-ns", rate.Now.FetchP99Nanoseconds);
        Write(writer, "in-flight", rate.Now.InFlight);
        Write(writer, "waiting", rate.Now.Waiting);
        writer.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter writer, string name, double? value)
    {
        if (value is { } number)
            writer.WriteNumber(name, Math.Round(number, 3));
        else
            writer.WriteNull(name);
    }
}
