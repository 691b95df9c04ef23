using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using System.Text.Json;

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
        var answers = new DevicePoll(registry).Ask(entries, DevicePoll.Patience);
        // Of all devices, one that does not answer is shown as such. Who asks for one device gets its status, or why not.
        if (target is not null && answers[0].Refusal is { } refusal)
            throw refusal;
        List<ReadOnlyMemory<byte>> documents = [.. answers.Select(answer => answer.Status)];
        if (!json)
            Output.Write(string.Join('\n', documents.Select(StatusText.Format)));
        else if (target is not null)
            Output.Json(writer => Output.Copy(writer, documents[0]));
        else
            Output.Json(writer => WriteAll(writer, documents));
        return ExitCode.Done;
    }

    private static void WriteAll(Utf8JsonWriter writer, List<ReadOnlyMemory<byte>> documents)
    {
        writer.WriteStartArray();
        foreach (var document in documents)
            Output.Copy(writer, document);
        writer.WriteEndArray();
    }
}
