using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk list</c>.</summary>
internal sealed class ListVerb : Verb
{
    private const int StateColumn = 1;

    private readonly Option<bool> _orphans = Flag("--orphans", "show the ublk devices of this host that no state file knows instead");
    private readonly Option<bool> _json = JsonFlag();

    public ListVerb()
        : base("list", "show all attached devices", "qcow2blk list", "qcow2blk list --orphans", "qcow2blk list --json | jq -r '.[].name'")
    {
        Options.Add(_orphans);
        Options.Add(_json);
        Does(parsed => parsed.GetValue(_orphans) ? PrintOrphans(parsed.GetValue(_json)) : Print(parsed.GetValue(_json)));
    }

    private static ExitCode Print(bool json)
    {
        var registry = Targets.Registry();
        (DeviceRecord Record, string State)[] devices =
            [.. registry.List().Select(entry => (entry.Record, LiveState.Of(registry, entry)))];
        if (json)
            Output.Json(writer => WriteAll(writer, devices));
        else if (devices.Length > 0)
            Output.Write(AsTable(devices));
        return ExitCode.Done;
    }

    private static string AsTable(IEnumerable<(DeviceRecord Record, string State)> devices)
    {
        var style = Style.For(1);
        var table = new Table("NAME", "STATE", "DEVICE", "IMAGE", "PID")
        {
            Paint = (column, cell, text) => column == StateColumn ? style.State(cell, text) : cell,
        };
        foreach ((var record, var state) in devices)
            table.Add(record.Name, state, record.DevicePath ?? record.Uri ?? "-", record.Image, $"{record.Pid}");
        return table.ToString();
    }

    private static void WriteAll(Utf8JsonWriter writer, IEnumerable<(DeviceRecord Record, string State)> devices)
    {
        writer.WriteStartArray();
        foreach ((var record, var state) in devices)
        {
            writer.WriteStartObject();
            WriteMembers(writer, record, state);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    /// <summary>What is known of a device without its server, into an open object.</summary>
    internal static void WriteMembers(Utf8JsonWriter writer, DeviceRecord record, string state)
    {
        writer.WriteString("name"u8, record.Name);
        writer.WriteString("state"u8, state);
        writer.WriteString("uri"u8, record.Uri);
        writer.WriteString("device"u8, record.DevicePath);
        writer.WriteString("image"u8, record.Image);
        writer.WriteNumber("pid"u8, record.Pid);
        writer.WriteString("started"u8, record.Started.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture));
        if (record.DevicePath is not null)
            writer.WriteNumber("recoveries"u8, record.Recoveries);
        if (state == LiveState.Dead && record.DevicePath is not null)
            writer.WriteString("hint"u8, $"qcow2blk attach --recover {record.Name}");
    }

    private static ExitCode PrintOrphans(bool json)
    {
        var orphans = KernelDevices.Orphans(Targets.Registry());
        if (json)
            Output.Json(writer => WriteOrphans(writer, orphans));
        else if (orphans.Count > 0)
            Output.Write(AsTable(orphans));
        return ExitCode.Done;
    }

    private static string AsTable(IEnumerable<OrphanDevice> orphans)
    {
        var table = new Table("DEVICE", "STATE", "SERVER", "MADE BY");
        foreach (var orphan in orphans)
            table.Add(orphan.Node.Path, orphan.State, Server(orphan), orphan.IsOurs ? "qcow2blk" : "another program");
        return table.ToString();
    }

    private static string Server(OrphanDevice orphan) =>
        orphan.Pid <= 0 ? "none" : orphan.ServerAlive ? $"process {orphan.Pid}" : $"process {orphan.Pid}, dead";

    private static void WriteOrphans(Utf8JsonWriter writer, IReadOnlyList<OrphanDevice> orphans)
    {
        writer.WriteStartArray();
        foreach (var orphan in orphans)
        {
            writer.WriteStartObject();
            writer.WriteString("device"u8, orphan.Node.Path);
            writer.WriteString("state"u8, orphan.State);
            writer.WriteNumber("pid"u8, orphan.Pid);
            writer.WriteBoolean("server-alive"u8, orphan.ServerAlive);
            writer.WriteBoolean("ours"u8, orphan.IsOurs);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
