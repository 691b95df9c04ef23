using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk status [TARGET]</c>.</summary>
internal sealed class StatusVerb : Verb
{
    private readonly Argument<string?> _target = Targets.Optional();
    private readonly Option<bool> _json = JsonFlag();

    public StatusVerb()
        : base("status", "show state, geometry, chain, cache, counters and latency of devices",
            "qcow2blk status disk", "qcow2blk status disk --json | jq .requests.reads")
    {
        Arguments.Add(_target);
        Options.Add(_json);
        Does(parsed => Print(parsed.GetValue(_target), parsed.GetValue(_json)));
    }

    private static ExitCode Print(string? target, bool json)
    {
        var registry = Targets.Registry();
        var entries = target is null ? registry.List() : [registry.Resolve(target)];
        List<ReadOnlyMemory<byte>> documents = [.. entries.Select(entry => Ask(registry, entry))];
        if (!json)
            Output.Write(string.Join('\n', documents.Select(StatusText.Format)));
        else if (target is not null)
            Output.Json(writer => Output.Copy(writer, documents[0]));
        else
            Output.Json(writer => WriteAll(writer, documents));
        return ExitCode.Done;
    }

    private static ReadOnlyMemory<byte> Ask(DeviceRegistry registry, DeviceEntry entry)
    {
        if (!entry.Alive)
            return WithoutServer(entry.Record, LiveState.Of(registry, entry));
        using var client = ControlClient.TryConnect(registry.Directory, entry.Record.Name);
        if (client is null)
            return WithoutServer(entry.Record, LiveState.WithoutSocket(entry));
        var reply = client.Ask(new ControlRequest(ControlVerb.Status, TimeSpan.Zero, Force: false, AllowShrink: false));
        var result = reply.Result;
        if (!result.Succeeded || reply.Status.IsEmpty)
        {
            throw new OutcomeException(result.Succeeded ? OutcomeKind.Failed : result.Kind, result.What
                ?? $"no status of {entry.Record.Name}",
                result.Why ?? "the server sent none", result.Hint);
        }

        return reply.Status;
    }

    private static ReadOnlyMemory<byte> WithoutServer(DeviceRecord record, string state)
    {
        var buffer = new System.Buffers.ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            ListVerb.WriteMembers(writer, record, state);
            writer.WriteEndObject();
        }

        return buffer.WrittenMemory;
    }

    private static void WriteAll(Utf8JsonWriter writer, List<ReadOnlyMemory<byte>> documents)
    {
        writer.WriteStartArray();
        foreach (var document in documents)
            Output.Copy(writer, document);
        writer.WriteEndArray();
    }
}
