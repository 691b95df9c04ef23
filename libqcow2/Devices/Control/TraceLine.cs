using System;
using System.Buffers;
using System.Collections.Generic;
using System.Diagnostics;
using System.Text.Json;
using Qcow2Blk.Exports.Traffic;

namespace Qcow2Blk.Devices.Control;

/// <summary>A line of a trace (docs/control-protocol.md): a request that has ended, or how many could not be told of.</summary>
/// <param name="Request">the request; null on a line of lost ones</param>
/// <param name="TimeNanoseconds">when it came, since the trace began; before that if it is less than 0</param>
/// <param name="LatencyNanoseconds">how long it took</param>
/// <param name="Lost">requests that were lost since the last such line</param>
internal readonly record struct TraceLine(TraceRecord? Request, long TimeNanoseconds, long LatencyNanoseconds, long Lost)
{
    private static readonly double s_nanosecondsPerTick = 1e9 / Stopwatch.Frequency;

    /// <summary>Writes one line for each record.</summary>
    public static void Write(IBufferWriter<byte> into, IReadOnlyList<TraceRecord> records, long began)
    {
        using var writer = new Utf8JsonWriter(into);
        foreach (var record in records)
        {
            writer.WriteStartObject();
            writer.WriteNumber("time-ns"u8, (long)((record.Started - began) * s_nanosecondsPerTick));
            writer.WriteNumber("loop"u8, record.Loop);
            writer.WriteString("operation"u8, RequestOperations.Words.Of(record.Operation));
            writer.WriteNumber("offset"u8, record.Offset);
            writer.WriteNumber("length"u8, record.Length);
            writer.WriteString("way"u8, RequestWays.Words.Of(record.Way));
            writer.WriteNumber("latency-ns"u8, (long)(record.Ticks * s_nanosecondsPerTick));
            if (record.Error != 0)
                writer.WriteNumber("errno"u8, record.Error);
            if (record.Waits != RequestWaits.None)
                WriteWaits(writer, record.Waits);
            writer.WriteEndObject();
            EndLine(writer, into);
        }
    }

    /// <summary>Writes the line that says how many were lost.</summary>
    public static void WriteLost(IBufferWriter<byte> into, long lost)
    {
        using var writer = new Utf8JsonWriter(into);
        writer.WriteStartObject();
        writer.WriteNumber("lost"u8, lost);
        writer.WriteEndObject();
        EndLine(writer, into);
    }

    /// <exception cref="JsonException">not a line of a trace</exception>
    public static TraceLine Parse(ReadOnlyMemory<byte> line)
    {
        using var document = JsonDocument.Parse(line);
        var root = document.RootElement;
        try
        {
            if (root.TryGetProperty("lost"u8, out var lost))
                return new TraceLine(null, 0, 0, lost.GetInt64());
            var waits = RequestWaits.None;
            if (root.TryGetProperty("waited-for"u8, out var reasons))
            {
                foreach (var reason in reasons.EnumerateArray())
                    waits |= RequestWaitWords.TryParse(reason.GetString());
            }

            var record = new TraceRecord(
                RequestOperations.Words.TryParse(root.GetProperty("operation"u8).GetString()) ?? RequestOperation.Unknown,
                RequestWays.Words.TryParse(root.GetProperty("way"u8).GetString()) ?? RequestWay.Home,
                waits, root.GetProperty("loop"u8).GetUInt16(),
                root.TryGetProperty("errno"u8, out var error) ? error.GetInt32() : 0,
                root.GetProperty("offset"u8).GetInt64(), root.GetProperty("length"u8).GetInt64(), 0, 0);
            return new TraceLine(record, root.GetProperty("time-ns"u8).GetInt64(), root.GetProperty("latency-ns"u8).GetInt64(), 0);
        }
        catch (Exception error) when (error is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new JsonException($"not a line of a trace: {error.Message}");
        }
    }

    private static void WriteWaits(Utf8JsonWriter writer, RequestWaits waits)
    {
        writer.WriteStartArray("waited-for"u8);
        foreach (var word in RequestWaitWords.Of(waits))
            writer.WriteStringValue(word);
        writer.WriteEndArray();
    }

    private static void EndLine(Utf8JsonWriter writer, IBufferWriter<byte> into)
    {
        writer.Flush();
        into.Write("\n"u8);
        writer.Reset();
    }
}
