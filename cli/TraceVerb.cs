using System;
using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk trace TARGET</c>.</summary>
internal sealed class TraceVerb : Verb
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(200);

    private readonly Argument<string> _target = Targets.One();
    private readonly Option<string> _count = Text("--count", "N", "end after N requests");
    private readonly Option<string> _seconds = Text("--seconds", "SECONDS", "end after this time");
    private readonly Option<string> _slower = Text("--slower-than", "MILLISECONDS", "show only requests that took longer");
    private readonly Option<bool> _json = Flag("--json",
        "print one JSON object for each request, on a line of its own, as described in qcow2blk-json(5)");

    public TraceVerb()
        : base("trace", "show each request of a device as it ends, how it was served and how long it took",
            "qcow2blk trace disk --seconds 2",
            "qcow2blk trace disk --seconds 2 --slower-than 10",
            "qcow2blk trace disk --count 1000 --seconds 2 --json | jq -s 'group_by(.way)|map({(.[0].way):length})|add'")
    {
        Arguments.Add(_target);
        Options.Add(_count);
        Options.Add(_seconds);
        Options.Add(_slower);
        Options.Add(_json);
        Does(Run);
    }

    private ExitCode Run(ParseResult parsed)
    {
        var most = AtLeastNought(_count, Number(parsed, _count));
        var seconds = AtLeastNought(_seconds, Number(parsed, _seconds));
        var slower = AtLeastNought(_slower, Number(parsed, _slower)) ?? 0;
        var registry = Targets.Registry();
        var entry = registry.Resolve(parsed.GetValue(_target)!);
        using var client = TraceClient.Connect(registry.Directory, entry.Record.Name);
        var stop = false;
        using var signals = EndSignals.WatchInForeground(() => System.Threading.Volatile.Write(ref stop, true));
        var summary = new TraceSummary();
        var json = parsed.GetValue(_json);
        if (!json)
            Output.Line(TraceText.Head);
        while (!System.Threading.Volatile.Read(ref stop) && !client.HasEnded && !(summary.Shown >= most)
            && !(summary.Elapsed.TotalSeconds >= seconds))
        {
            Show(client, summary, json, slower, most ?? double.PositiveInfinity);
        }

        if (!json)
            Output.Aside(summary.ToString());
        return ExitCode.Done;
    }

    /// <summary>Prints what comes at once, in one piece.</summary>
    private static void Show(TraceClient client, TraceSummary summary, bool json, double slowerThanMilliseconds, double most)
    {
        var text = new StringBuilder();
        for (var patience = s_patience; summary.Shown < most && client.Next(patience) is { } line; patience = TimeSpan.Zero)
        {
            var parsed = Parse(line);
            if (parsed.Request is not null && parsed.LatencyNanoseconds < slowerThanMilliseconds * 1e6)
            {
                summary.PassedOver++;
                continue;
            }

            summary.Add(parsed);
            text.Append(json ? Encoding.UTF8.GetString(line) : TraceText.Line(parsed)).Append('\n');
        }

        if (text.Length > 0)
            Output.Write(text.ToString());
    }

    private static TraceLine Parse(byte[] line)
    {
        try
        {
            return TraceLine.Parse(line);
        }
        catch (JsonException error)
        {
            throw new OutcomeException(OutcomeKind.Failed, "cannot read the trace", error.Message, "the server may be of another version");
        }
    }

    /// <exception cref="OutcomeException">usage</exception>
    private static double? AtLeastNought(Option<string> option, double? value) => value is null or >= 0 ? value
        : throw new OutcomeException(OutcomeKind.Invalid,
            string.Create(CultureInfo.InvariantCulture, $"{option.Name} {value} is out of range"), "it cannot be negative");
}
