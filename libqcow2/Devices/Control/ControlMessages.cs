using System;
using System.Buffers;
using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Devices.Metrics;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Control;

/// <summary>What a control connection may ask (docs/control-protocol.md).</summary>
internal enum ControlVerb
{
    Hello,
    Status,
    Suspend,
    Resume,
    Detach,

    /// <summary>End, but leave the block device to the next server.</summary>
    HandOver,

    /// <summary>Change options of the running device.</summary>
    Set,

    /// <summary>Tell what happens, from now on, on this connection.</summary>
    Watch,

    /// <summary>Tell of each request that ends, from now on, on this connection.</summary>
    Trace,

    /// <summary>As <see cref="Status"/>, for monitoring.</summary>
    Metrics,

    /// <summary>An operation on the image: <see cref="ControlRequest.Edit"/>.</summary>
    Edit,

    /// <summary>Requests wait, from now on, until the same connection says <see cref="Release"/> or ends.</summary>
    Hold,

    /// <summary>Requests that wait go on.</summary>
    Release,
}

internal static class ControlVerbs
{
    public static EnumWords<ControlVerb> Words { get; } = new(
        (ControlVerb.Hello, "hello"), (ControlVerb.Status, "status"), (ControlVerb.Suspend, "suspend"), (ControlVerb.Resume, "resume"),
        (ControlVerb.Detach, "detach"), (ControlVerb.HandOver, "hand-over"),
        (ControlVerb.Set, "set"), (ControlVerb.Watch, "watch"), (ControlVerb.Trace, "trace"), (ControlVerb.Metrics, "metrics"),
        (ControlVerb.Edit, "edit"), (ControlVerb.Hold, "hold"), (ControlVerb.Release, "release"));
}

/// <summary>One request line.</summary>
/// <param name="Verb">what to do</param>
/// <param name="Timeout">how long the device may take</param>
/// <param name="Force">detach although something is lost</param>
/// <param name="AllowShrink">resume with a smaller disk</param>
/// <param name="Lazy">detach once nobody uses the block device any more, and answer at once</param>
/// <param name="LockTimeout">resume: how long image locks may take that nobody alive holds; null for what attach was told</param>
/// <param name="Options">set: the options to change, as texts that the command line takes; edit: its arguments; null for none</param>
/// <param name="Edit">edit: the operation</param>
internal readonly record struct ControlRequest(
    ControlVerb Verb, TimeSpan Timeout, bool Force, bool AllowShrink, bool Lazy = false, TimeSpan? LockTimeout = null,
    IReadOnlyDictionary<string, string>? Options = null, string? Edit = null)
{
    /// <summary>No request is longer; a peer that sends more is not ours.</summary>
    public const int MaxBytes = 16384;

    /// <summary>Longer waits are waits for ever.</summary>
    public const double MaxTimeoutSeconds = 86400;

    public static TimeSpan DefaultTimeout { get; } = TimeSpan.FromSeconds(30);

    public byte[] ToLine()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteString("verb"u8, ControlVerbs.Words.Of(Verb));
            writer.WriteNumber("timeout"u8, Timeout.TotalSeconds);
            if (Force)
                writer.WriteBoolean("force"u8, true);
            if (AllowShrink)
                writer.WriteBoolean("allow-shrink"u8, true);
            if (Lazy)
                writer.WriteBoolean("lazy"u8, true);
            if (LockTimeout is { } locks)
                writer.WriteNumber("lock-timeout"u8, locks.TotalSeconds);
            if (Edit is not null)
                writer.WriteString("edit"u8, Edit);
            if (Options is not null)
                WriteOptions(writer, Options);
            writer.WriteEndObject();
        }

        buffer.Write("\n"u8);
        return buffer.WrittenSpan.ToArray();
    }

    /// <exception cref="JsonException">no request; unknown members are refused, they might matter</exception>
    public static ControlRequest Parse(ReadOnlySpan<byte> line)
    {
        var reader = new Utf8JsonReader(line);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("a request is a JSON object");
        ControlVerb? verb = null;
        var timeout = DefaultTimeout;
        bool force = false, allowShrink = false, lazy = false;
        TimeSpan? lockTimeout = null;
        Dictionary<string, string>? options = null;
        string? edit = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var member = reader.GetString()!;
            reader.Read();
            switch (member)
            {
                case "verb":
                    verb = ControlVerbs.Words.TryParse(reader.GetString());
                    break;
                case "timeout":
                    timeout = Seconds(member, reader.GetDouble(), MaxTimeoutSeconds);
                    break;
                case "lock-timeout":
                    lockTimeout = Seconds(member, reader.GetDouble(), AttachRules.MaxLockTimeout);
                    break;
                case "force":
                    force = reader.GetBoolean();
                    break;
                case "allow-shrink":
                    allowShrink = reader.GetBoolean();
                    break;
                case "lazy":
                    lazy = reader.GetBoolean();
                    break;
                case "options":
                    options = ReadOptions(ref reader);
                    break;
                case "edit":
                    edit = reader.GetString();
                    break;
                default:
                    throw new JsonException($"unknown member \"{member}\"");
            }
        }

        if (reader.Read())
            throw new JsonException("more than one object on the line");
        return verb is { } known ? new ControlRequest(known, timeout, force, allowShrink, lazy, lockTimeout, options, edit)
            : throw new JsonException($"verb is not one of {ControlVerbs.Words}");
    }

    private static void WriteOptions(Utf8JsonWriter writer, IReadOnlyDictionary<string, string> options)
    {
        writer.WriteStartObject("options"u8);
        foreach ((var name, var text) in options)
            writer.WriteString(name, text);
        writer.WriteEndObject();
    }

    private static Dictionary<string, string> ReadOptions(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("options is not an object");
        var options = new Dictionary<string, string>();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            if (!options.TryAdd(name, reader.GetString() ?? throw new JsonException($"options.{name} is null")))
                throw new JsonException($"options.{name} is there twice");
        }

        return options;
    }

    private static TimeSpan Seconds(string member, double value, double most) =>
        value >= 0 && value <= most ? TimeSpan.FromSeconds(value)
            : throw new JsonException($"{member} is not between 0 and {most} seconds");
}

/// <summary>One reply line.</summary>
/// <param name="Result">how it went</param>
/// <param name="State">the device's state after the request, in its JSON spelling; null if there is no device to tell</param>
/// <param name="Status">the "status" object as the server wrote it; empty where none was asked for</param>
internal readonly record struct ControlReply(Outcome Result, string? State, ReadOnlyMemory<byte> Status)
{
    /// <summary>A reply with every counter there is has some kilobytes; this bounds what a client reads.</summary>
    public const int MaxBytes = 1 << 20;

    /// <param name="result">how it went</param>
    /// <param name="device">whose state to add; null if there is none to tell</param>
    /// <param name="withStatus">add the "status" object too</param>
    /// <param name="withMetrics">add the metrics too</param>
    public static byte[] ToLine(Outcome result, IDevice? device, bool withStatus, bool withMetrics = false)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            WriteResult(writer, result);
            if (device is not null)
                writer.WriteString("state"u8, DeviceStates.Words.Of(device.State));
            if (device is not null && withStatus)
            {
                writer.WritePropertyName("status"u8);
                device.WriteStatus(writer);
            }

            if (device is not null && withMetrics)
                writer.WriteString("metrics"u8, OpenMetrics.Format([StatusOf(device)]));
            writer.WriteEndObject();
        }

        buffer.Write("\n"u8);
        return buffer.WrittenSpan.ToArray();
    }

    private static ReadOnlyMemory<byte> StatusOf(IDevice device)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
            device.WriteStatus(writer);
        return buffer.WrittenMemory;
    }

    /// <summary>The members of a result, into an open object.</summary>
    public static void WriteResult(Utf8JsonWriter writer, Outcome result)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.WriteBoolean("ok"u8, result.Succeeded);
        if (!result.Succeeded)
            writer.WriteString("kind"u8, OutcomeKinds.Words.Of(result.Kind));
        if (result.Error != 0)
            writer.WriteNumber("errno"u8, -result.Error);
        WriteText(writer, "what", result.What);
        WriteText(writer, "why", result.Why);
        WriteText(writer, "hint", result.Hint);
        WriteText(writer, "note", result.Note);
        if (result.Json is not null)
        {
            writer.WritePropertyName("data"u8);
            writer.WriteRawValue(result.Json);
        }
    }

    /// <exception cref="JsonException">no reply</exception>
    public static ControlReply Parse(byte[] line)
    {
        var reader = new Utf8JsonReader(line);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("a reply is a JSON object");
        var result = new Outcome(OutcomeKind.Failed, null, null, null, null);
        var ok = false;
        string? state = null;
        ReadOnlyMemory<byte> status = default;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var member = reader.GetString()!;
            reader.Read();
            if (member == "ok")
                ok = reader.GetBoolean();
            else if (member == "state")
                state = reader.GetString();
            else if (member == "status")
                status = Raw(ref reader, line);
            else if (member == "data")
                result = result with { Json = System.Text.Encoding.UTF8.GetString(Raw(ref reader, line).Span) };
            else
                result = With(result, member, ref reader);
        }

        return new ControlReply(ok ? result with { Kind = OutcomeKind.Done } : result, state, status);
    }

    private static ReadOnlyMemory<byte> Raw(ref Utf8JsonReader reader, byte[] line)
    {
        var start = (int)reader.TokenStartIndex;
        reader.Skip();
        return line.AsMemory(start, (int)reader.BytesConsumed - start);
    }

    private static Outcome With(Outcome result, string member, ref Utf8JsonReader reader)
    {
        switch (member)
        {
            case "kind":
                return result with { Kind = OutcomeKinds.OfRefusal(reader.GetString()) };
            case "errno":
                return result with { Error = ErrorNumbers.OfPeer(reader.GetInt32()) };
            case "what":
                return result with { What = reader.GetString() };
            case "why":
                return result with { Why = reader.GetString() };
            case "hint":
                return result with { Hint = reader.GetString() };
            case "note":
                return result with { Note = reader.GetString() };
            default:
                reader.Skip();
                return result;
        }
    }

    private static void WriteText(Utf8JsonWriter writer, string member, string? value)
    {
        if (value is not null)
            writer.WriteString(member, value);
    }
}
