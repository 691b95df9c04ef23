using System.Buffers;
using System.Text.Json;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Control;

/// <summary>What a device tells those who watch it.</summary>
internal enum WatchKind
{
    /// <summary>Its state has changed; the first event of a watch tells the present one.</summary>
    State,

    /// <summary>Requests wait for space in the file system, more or fewer than before.</summary>
    NoSpace,

    /// <summary>Something failed that no request could be told of.</summary>
    Error,

    /// <summary>The image takes no more writes: it is damaged, or a flush failed.</summary>
    Corrupt,

    /// <summary>It was detached. Nothing comes after it.</summary>
    Ended,
}

internal static class WatchKinds
{
    public static EnumWords<WatchKind> Words { get; } = new(
        (WatchKind.State, "state"), (WatchKind.NoSpace, "no-space"), (WatchKind.Error, "error"), (WatchKind.Corrupt, "corrupt"),
        (WatchKind.Ended, "ended"));
}

/// <summary>One event of a device: one line to each connection that watches it.</summary>
/// <param name="Kind">what happened</param>
/// <param name="State">the device's state then</param>
/// <param name="Waiting">how many requests wait for space; told with <see cref="WatchKind.NoSpace"/></param>
/// <param name="Message">what a log would say; empty where the kind says it all</param>
internal readonly record struct WatchEvent(WatchKind Kind, DeviceState State, int Waiting, string Message)
{
    /// <summary>A log line with some paths in it; a longer one is cut.</summary>
    public const int MaxMessageLength = 8192;

    public byte[] ToLine()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteString("event"u8, WatchKinds.Words.Of(Kind));
            writer.WriteString("state"u8, DeviceStates.Words.Of(State));
            if (Kind == WatchKind.NoSpace)
                writer.WriteNumber("waiting"u8, Waiting);
            if (Message.Length > 0)
                writer.WriteString("message"u8, Message);
            writer.WriteEndObject();
        }

        buffer.Write("\n"u8);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Reads a line; members of later versions are skipped.</summary>
    /// <returns>null if it is an event or a state of a later version: there is nothing to be told of it</returns>
    /// <exception cref="JsonException">not an event</exception>
    public static WatchEvent? Parse(byte[] line)
    {
        var reader = new Utf8JsonReader(line);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("an event is a JSON object");
        string? kind = null, state = null;
        var waiting = 0;
        var message = "";
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var member = reader.GetString()!;
            reader.Read();
            switch (member)
            {
                case "event":
                    kind = reader.GetString();
                    break;
                case "state":
                    state = reader.GetString();
                    break;
                case "waiting":
                    waiting = reader.GetInt32();
                    break;
                case "message":
                    message = reader.GetString() ?? "";
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        if (kind is null || state is null)
            throw new JsonException("an event has a kind and a state");
        return WatchKinds.Words.TryParse(kind) is { } known && DeviceStates.Words.TryParse(state) is { } then
            ? new WatchEvent(known, then, waiting, message) : null;
    }
}
