using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk status [TARGET]</c>.</summary>
internal sealed class StatusVerb : Verb
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private readonly Argument<string?> _target = Targets.Optional();
    private readonly Option<bool> _watch = Flag("--watch", "show it again and again, until q is pressed; with --json, a line each time");
    private readonly Option<string> _interval = TopVerb.Interval("with --watch: how long to wait each time [default: 1]");
    private readonly Option<bool> _json = JsonFlag();

    public StatusVerb()
        : base("status", "show state, geometry, chain, cache, counters and latency of devices",
            "qcow2blk status disk", "qcow2blk status disk --watch", "qcow2blk status disk --json | jq .requests.reads")
    {
        Arguments.Add(_target);
        Options.Add(_watch);
        Options.Add(_interval);
        Options.Add(_json);
        Does(parsed => parsed.GetValue(_watch) ? Watch(parsed) : PrintOnce(parsed));
    }

    private ExitCode PrintOnce(ParseResult parsed)
    {
        if (parsed.GetValue(_interval) is not null)
            throw new OutcomeException(OutcomeKind.Invalid, "--interval is for --watch", "the status is shown once", "add --watch");
        return Print(parsed.GetValue(_target), parsed.GetValue(_json));
    }

    private ExitCode Watch(ParseResult parsed)
    {
        var interval = TopVerb.IntervalOf(parsed, _interval);
        var registry = Targets.Registry();
        var name = parsed.GetValue(_target) is { } target ? registry.Resolve(target).Record.Name : null;
        if (!parsed.GetValue(_json))
            return new StatusWatch(registry, name, interval).Run("use --json, which prints lines");
        var poll = new DevicePoll(registry);
        while (true)
        {
            DeviceEntry[] entries = [.. registry.List().Where(entry => name is null || entry.Record.Name == name)];
            List<ReadOnlyMemory<byte>> statuses = [.. poll.Ask(entries, s_patience).Select(answer => answer.Status)];
            Output.JsonLine(writer => WriteAll(writer, statuses));
            Thread.Sleep(interval);
        }
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
            Output.Write(string.Join('\n', documents.Select(document => StatusText.Format(document, Style.For(1)))));
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
