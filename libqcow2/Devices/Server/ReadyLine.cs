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
