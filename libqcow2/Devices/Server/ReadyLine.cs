using System;
using System.Buffers;
using System.Text.Json;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Devices.Server;

/// <summary>The one line by which a background server tells its starter how it went.</summary>
/// <param name="Record">the device; null if it could not be attached</param>
/// <param name="Error">why not; null if it could</param>
internal readonly record struct ReadyLine(DeviceRecord? Record, OutcomeException? Error)
{
    /// <summary>A record, or an error with some paths in it.</summary>
    internal const int MaxBytes = DeviceRecord.MaxBytes + 4096;

    /// <summary>
    /// In the environment of servers whose starter takes lines of progress before the ready one. A server of an older version
    /// sends none; a starter of an older version does not set it.
    /// </summary>
    internal const string ProgressVariable = "QCOW2BLK_TELL_PROGRESS";

    /// <summary>A line of progress: what is done, and how far it is.</summary>
    internal static byte[] ProgressLine(string what, double fraction)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteString("progress"u8, what);
            writer.WriteNumber("fraction"u8, Math.Round(fraction, 4));
            writer.WriteEndObject();
        }

        buffer.Write("\n"u8);
        return buffer.WrittenSpan.ToArray();
    }

    /// <returns>false if it is another line, such as the ready one</returns>
    internal static bool TryParseProgress(byte[] line, out string what, out double fraction)
    {
        what = "";
        fraction = 0;
        try
        {
            using var document = JsonDocument.Parse(line);
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("progress", out var text))
                return false;
            what = text.GetString() ?? "";
            fraction = document.RootElement.TryGetProperty("fraction", out var number) ? number.GetDouble() : 0;
            return true;
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException)
        {
            return false;
        }
    }

    internal byte[] ToLine()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            ControlReply.WriteResult(writer, Error is null
                ? Outcome.Done()
                : Outcome.Refused(Error.Kind, Error.What, Error.Why, Error.Hint) with { Error = ErrorNumbers.Of(Error) });
            if (Record is not null)
            {
                writer.WritePropertyName("status"u8);
                writer.WriteRawValue(Record.ToJson());
            }

            writer.WriteEndObject();
        }

        buffer.Write("\n"u8);
        return buffer.WrittenSpan.ToArray();
    }

    /// <exception cref="JsonException">not such a line</exception>
    internal static ReadyLine Parse(byte[] line)
    {
        var reply = ControlReply.Parse(line);
        var result = reply.Result;
        return result.Succeeded
            ? new ReadyLine(DeviceRecord.Parse(reply.Status.Span), null)
            : new ReadyLine(null, new OutcomeException(result.Kind, result.What ?? "cannot attach", result.Why ?? "unknown", result.Hint)
            {
                Error = result.Error,
            });
    }
}
