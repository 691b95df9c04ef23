using System;
using System.Buffers;
using System.Globalization;
using System.IO;
using System.Text.Json;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Logging;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Devices.Registry;

/// <summary>The state file of a device: what is known of it without asking its server, and after that died.</summary>
internal sealed record DeviceRecord
{
    public required string Name { get; init; }

    public required string Image { get; init; }

    /// <summary>Null until clients can connect.</summary>
    public string? Uri { get; init; }

    public string? DevicePath { get; init; }

    /// <summary>What log lines of its server are about.</summary>
    public LogSubject LogSubject => new(Name, Image, DevicePath);

    /// <summary>The server's process.</summary>
    public required int Pid { get; init; }

    /// <summary>When the device was attached; a recovery does not change it.</summary>
    public required DateTimeOffset Started { get; init; }

    /// <summary>The process that starts another server if this one dies; null if there is none.</summary>
    public ProcessIdentity? Supervisor { get; init; }

    /// <summary>How often a server died and another one took the device over.</summary>
    public int Recoveries { get; init; }

    /// <summary>The server lives in another program, which has more to do than this device: it is never killed for its sake.</summary>
    public bool IsGuest { get; init; }

    /// <summary>The server ended as planned and left the device to the next one.</summary>
    public bool HandedOver { get; init; }

    /// <summary>Others may be editing the image, or copying it: no server may open it before somebody says so.</summary>
    public bool Suspended { get; init; }

    /// <summary>The <see cref="Storage.FileIdentity"/> of the image as it was opened last.</summary>
    public string? ImageIdentity { get; init; }

    /// <summary>The file that <see cref="AttachOptions.SocketPath"/> was bound to, as <see cref="EntryIdentity"/>; null where there is
    /// none.</summary>
    public string? SocketIdentity { get; init; }

    public required AttachOptions Options { get; init; }

    /// <summary>Whether clients could not connect yet: nobody has learnt of the device, and nobody misses it if its server dies.</summary>
    internal bool IsNeverReady => Uri is null && DevicePath is null;

    /// <summary>A state file is a few hundred bytes and some paths; more is not ours.</summary>
    public const int MaxBytes = 256 << 10;

    public byte[] ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteString("name"u8, Name);
            writer.WriteString("image"u8, Image);
            if (Uri is not null)
                writer.WriteString("uri"u8, Uri);
            if (DevicePath is not null)
                writer.WriteString("device"u8, DevicePath);
            writer.WriteNumber("pid"u8, Pid);
            writer.WriteString("started"u8, Started.ToString("o", CultureInfo.InvariantCulture));
            if (Supervisor is { } supervisor)
            {
                writer.WriteNumber("supervisor"u8, supervisor.Pid);
                writer.WriteNumber("supervisor-start"u8, supervisor.Start);
            }

            if (Recoveries > 0)
                writer.WriteNumber("recoveries"u8, Recoveries);
            if (IsGuest)
                writer.WriteBoolean("in-program"u8, true);
            if (HandedOver)
                writer.WriteBoolean("handed-over"u8, true);
            if (Suspended)
                writer.WriteBoolean("suspended"u8, true);
            if (ImageIdentity is not null)
                writer.WriteString("image-identity"u8, ImageIdentity);
            if (SocketIdentity is not null)
                writer.WriteString("socket-identity"u8, SocketIdentity);
            writer.WritePropertyName("options"u8);
            AttachOptionsJson.WriteValue(writer, Options);
            writer.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Reads a state file; members of later versions are skipped.</summary>
    /// <returns>null if it is not one of ours or damaged</returns>
    public static DeviceRecord? TryRead(string path)
    {
        try
        {
            return Load(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    /// <summary>As <see cref="TryRead"/>.</summary>
    /// <exception cref="OutcomeException">it is not one of ours or damaged: which file, which field, and its value</exception>
    public static DeviceRecord Read(string path)
    {
        try
        {
            return Load(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new OutcomeException(OutcomeKind.Failed, $"cannot read the state file {path}", HouseStyle.Of(error.Message), null, error);
        }
    }

    private static DeviceRecord Load(string path)
    {
        using var file = File.OpenRead(path);
        if (file.Length > MaxBytes)
            throw new JsonException($"it has {file.Length} bytes, more than {MaxBytes}");
        var json = new byte[file.Length];
        file.ReadExactly(json);
        return Parse(json);
    }

    /// <exception cref="JsonException">not a state file; where a field is wrong, the message says which, and its value</exception>
    public static DeviceRecord Parse(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        reader.Read();
        var record = new DeviceRecord
        {
            Name = "",
            Image = "",
            Pid = 0,
            Started = default,
            Options = new AttachOptions { Image = "" },
        };
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var member = reader.GetString()!;
            reader.Read();
            record = Read(record, member, ref reader);
        }

        return record.Name.Length > 0 && record.Image.Length > 0 ? record : throw new JsonException("no name or image");
    }

    private static DeviceRecord Read(DeviceRecord record, string member, ref Utf8JsonReader reader)
    {
        var found = JsonText.Of(ref reader);
        try
        {
            return With(record, member, ref reader);
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException)
        {
            throw new JsonException($"{member} {found} is not a value that it can have", error);
        }
    }

    private static DeviceRecord With(DeviceRecord record, string member, ref Utf8JsonReader reader)
    {
        switch (member)
        {
            case "name":
                return record with { Name = reader.GetString() ?? "" };
            case "image":
                return record with { Image = reader.GetString() ?? "" };
            case "uri":
                return record with { Uri = reader.GetString() };
            case "device":
                return record with { DevicePath = reader.GetString() };
            case "pid":
                return record with { Pid = reader.GetInt32() };
            case "started":
                return record with { Started = reader.GetDateTimeOffset() };
            case "supervisor":
                return record with { Supervisor = new ProcessIdentity(reader.GetInt32(), record.Supervisor?.Start ?? 0) };
            case "supervisor-start":
                return record with { Supervisor = new ProcessIdentity(record.Supervisor?.Pid ?? 0, reader.GetInt64()) };
            case "recoveries":
                return record with { Recoveries = reader.GetInt32() };
            case "suspended":
                return record with { Suspended = reader.GetBoolean() };
            case "in-program":
                return record with { IsGuest = reader.GetBoolean() };
            case "handed-over":
                return record with { HandedOver = reader.GetBoolean() };
            case "image-identity":
                return record with { ImageIdentity = reader.GetString() };
            case "socket-identity":
                return record with { SocketIdentity = reader.GetString() };
            case "options":
                return record with { Options = AttachOptionsJson.ReadValue(ref reader) };
            default:
                reader.Skip();
                return record;
        }
    }
}
