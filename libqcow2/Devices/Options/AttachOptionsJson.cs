using System;
using System.Buffers;
using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Options;

/// <summary>
/// Attach options as one JSON object: how the command hands them to its server, and what the state file keeps.
/// Members that equal their default are left out.
/// </summary>
public static class AttachOptionsJson
{
    public static byte[] Write(AttachOptions options)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
            WriteValue(writer, options);
        return buffer.WrittenSpan.ToArray();
    }

    public static void WriteValue(Utf8JsonWriter writer, AttachOptions options)
    {
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentNullException.ThrowIfNull(options);
        writer.WriteStartObject();
        writer.WriteString("image"u8, options.Image);
        writer.WriteString("format"u8, ImageFormats.Words.Of(options.Format));
        WriteText(writer, "name", options.Name);
        WriteText(writer, "socket", options.SocketPath);
        if (options.ListenHost is not null)
        {
            writer.WriteString("listen-host"u8, options.ListenHost);
            writer.WriteNumber("listen-port"u8, options.ListenPort);
        }
        if (options.ListenFd is { } fd)
            writer.WriteNumber("listen-fd"u8, fd);
        WriteBlockDevice(writer, options);
        WriteFlag(writer, "read-only", options.ReadOnly);
        WriteFlag(writer, "foreground", options.Foreground);
        WriteText(writer, "run", options.RunCommand);
        writer.WriteString("cache"u8, CacheModes.Words.Of(options.Cache));
        if (options.CacheSize is { } size)
            writer.WriteNumber("cache-size"u8, size);
        if (options.Queues is { } queues)
            writer.WriteNumber("queues"u8, queues);
        writer.WriteString("discard"u8, DiscardModes.Words.Of(options.Discard));
        writer.WriteString("detect-zeroes"u8, DetectZeroesModes.Words.Of(options.DetectZeroes));
        WriteText(writer, "snapshot", options.Snapshot);
        WriteFlag(writer, "no-backing", options.NoBacking);
        WriteDirectories(writer, options.BackingDirectories);
        if (options.LockTimeout is { } lockTimeout)
            writer.WriteNumber("lock-timeout"u8, lockTimeout);
        WriteText(writer, "backing", options.Backing);
        if (options.BackingFormat is { } backingFormat)
            writer.WriteString("backing-format"u8, ImageFormats.Words.Of(backingFormat));
        writer.WriteString("on-enospc"u8, EnospcPolicies.Words.Of(options.OnEnospc));
        WriteText(writer, "pid-file", options.PidFile);
        writer.WriteString("log-level"u8, LogLevels.Words.Of(options.LogLevel));
        writer.WriteEndObject();
    }

    private static void WriteBlockDevice(Utf8JsonWriter writer, AttachOptions options)
    {
        if (!options.IsBlockDevice)
            return;
        writer.WriteString("transport"u8, DeviceTransports.Words.Of(options.Transport));
        WriteText(writer, "device", options.Device);
        writer.WriteNumber("depth"u8, options.Depth);
        writer.WriteNumber("block-size"u8, options.BlockSize);
        writer.WriteString("ublk-mode"u8, UblkModes.Words.Of(options.UblkMode));
        writer.WriteNumber("nbd-timeout"u8, options.NbdTimeout);
        writer.WriteNumber("dead-timeout"u8, options.DeadTimeout);
        WriteFlag(writer, "null-io", options.NullIo);
        WriteText(writer, "recover-device", options.RecoverDevice);
        WriteFlag(writer, "discard-log", options.DiscardLog);
        WriteText(writer, "only-image", options.OnlyImage);
        if (options.InheritedConnections > 0)
            writer.WriteNumber("inherited-connections"u8, options.InheritedConnections);
    }

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <exception cref="JsonException">not such an object</exception>
    public static AttachOptions Read(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        reader.Read();
        return ReadValue(ref reader);
    }

    /// <summary>Reads the object that the reader stands on, to its end.</summary>
    /// <exception cref="JsonException">not such an object, or an unknown member</exception>
    public static AttachOptions ReadValue(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("options are no JSON object");
        var options = new AttachOptions { Image = "" };
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string member = reader.GetString()!;
            reader.Read();
            options = With(options, member, ref reader);
        }
        return options;
    }

    private static AttachOptions With(AttachOptions options, string member, ref Utf8JsonReader reader) => member switch
    {
        "image" => options with { Image = Text(ref reader) },
        "format" => options with { Format = ImageFormats.Words.Parse(Text(ref reader)) },
        "name" => options with { Name = Text(ref reader) },
        "socket" => options with { SocketPath = Text(ref reader) },
        "listen-host" => options with { ListenHost = Text(ref reader) },
        "listen-port" => options with { ListenPort = reader.GetInt32() },
        "listen-fd" => options with { ListenFd = reader.GetInt32() },
        "transport" => options with { Transport = DeviceTransports.Words.Parse(Text(ref reader)) },
        "device" => options with { Device = Text(ref reader) },
        "depth" => options with { Depth = reader.GetInt32() },
        "block-size" => options with { BlockSize = reader.GetInt32() },
        "ublk-mode" => options with { UblkMode = UblkModes.Words.Parse(Text(ref reader)) },
        "nbd-timeout" => options with { NbdTimeout = reader.GetInt32() },
        "dead-timeout" => options with { DeadTimeout = reader.GetInt32() },
        "null-io" => options with { NullIo = reader.GetBoolean() },
        "recover-device" => options with { RecoverDevice = Text(ref reader) },
        "discard-log" => options with { DiscardLog = reader.GetBoolean() },
        "inherited-connections" => options with { InheritedConnections = reader.GetInt32() },
        "only-image" => options with { OnlyImage = Text(ref reader) },
        "read-only" => options with { ReadOnly = reader.GetBoolean() },
        "foreground" => options with { Foreground = reader.GetBoolean() },
        "run" => options with { RunCommand = Text(ref reader) },
        "cache" => options with { Cache = CacheModes.Words.Parse(Text(ref reader)) },
        "cache-size" => options with { CacheSize = reader.GetInt64() },
        "queues" => options with { Queues = reader.GetInt32() },
        "discard" => options with { Discard = DiscardModes.Words.Parse(Text(ref reader)) },
        "detect-zeroes" => options with { DetectZeroes = DetectZeroesModes.Words.Parse(Text(ref reader)) },
        "snapshot" => options with { Snapshot = Text(ref reader) },
        "no-backing" => options with { NoBacking = reader.GetBoolean() },
        "backing-dirs" => options with { BackingDirectories = Directories(ref reader) },
        "lock-timeout" => options with { LockTimeout = reader.GetInt32() },
        "backing" => options with { Backing = Text(ref reader) },
        "backing-format" => options with { BackingFormat = ImageFormats.Words.Parse(Text(ref reader)) },
        "on-enospc" => options with { OnEnospc = EnospcPolicies.Words.Parse(Text(ref reader)) },
        "pid-file" => options with { PidFile = Text(ref reader) },
        "log-level" => options with { LogLevel = LogLevels.Words.Parse(Text(ref reader)) },
        _ => throw new JsonException($"unknown attach option \"{member}\""),
    };

    private static string Text(ref Utf8JsonReader reader)
        => reader.GetString() ?? throw new JsonException("null where text was expected");

    private static List<string> Directories(ref Utf8JsonReader reader)
    {
        var directories = new List<string>();
        while (reader.Read() && reader.TokenType == JsonTokenType.String)
            directories.Add(Text(ref reader));
        return directories;
    }

    private static void WriteDirectories(Utf8JsonWriter writer, IReadOnlyList<string> directories)
    {
        if (directories.Count == 0)
            return;
        writer.WriteStartArray("backing-dirs"u8);
        foreach (string directory in directories)
            writer.WriteStringValue(directory);
        writer.WriteEndArray();
    }

    private static void WriteText(Utf8JsonWriter writer, string member, string? value)
    {
        if (value is not null)
            writer.WriteString(member, value);
    }

    private static void WriteFlag(Utf8JsonWriter writer, string member, bool value)
    {
        if (value)
            writer.WriteBoolean(member, true);
    }
}
