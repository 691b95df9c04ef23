using System;
using System.Collections.Generic;
using System.Text;
using System.Text.Json;

namespace Qcow2Blk.Devices.Options;

/// <summary>Any text.</summary>
internal class TextKind : ValueKind<string?>
{
    public override string Noun => "text";

    public override string? Parse(string said, string text) => text;

    public override IReadOnlyList<string> Print(string? value) => [value!];

    public override bool TryRead(ref Utf8JsonReader reader, out string? value)
    {
        value = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
        return value is not null;
    }

    public override void Write(Utf8JsonWriter writer, string? value) => writer.WriteStringValue(value);
}

/// <summary>The name of a device.</summary>
internal sealed class DeviceNameKind : TextKind
{
    public override ValueRefusal? Refuse(string said, string? value) => DeviceName.IsValid(value!) ? null
        : new ValueRefusal($"{said} \"{value}\" is not a valid device name", DeviceName.Rule);
}

/// <summary>A device node that this program can make.</summary>
internal sealed class NodeKind : TextKind
{
    public override string? Parse(string said, string text) => KernelNode.TryParse(text)?.Path ?? text;

    public override ValueRefusal? Refuse(string said, string? value) => KernelNode.TryParse(value) is not null ? null
        : new ValueRefusal($"{said} {value} is not a device that qcow2blk makes", "devices are /dev/ublkbN and /dev/nbdN");
}

/// <summary>A file.</summary>
internal class FileKind : TextKind
{
    public override string? Parse(string said, string text) => FilePath.Absolute(text);

    public override ValueRefusal? Refuse(string said, string? value) =>
        value!.Length > 0 && !value.Contains('\0', StringComparison.Ordinal) ? null
            : new ValueRefusal($"{said} is not a file name", "it is empty or contains a NUL");
}

/// <summary>A unix socket to serve on.</summary>
internal sealed class SocketKind : FileKind
{
    public override ValueRefusal? Refuse(string said, string? value) =>
        base.Refuse(said, value) ?? (Encoding.UTF8.GetByteCount(value!) is var bytes and > AttachRules.MaxSocketPathBytes
            ? new ValueRefusal($"cannot serve on {value}",
                $"a unix socket path holds {AttachRules.MaxSocketPathBytes} bytes, this one has {bytes}", "use a shorter path")
            : null);
}
