using System;
using System.CommandLine;
using System.Globalization;
using System.Linq;
using Qcow2Blk.Cli.Top;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk top [TARGET...]</c>.</summary>
internal sealed class TopVerb : Verb
{
    private const string DefaultColumn = "name", Otherwise = "use --batch, which prints lines";

    private readonly Argument<string[]> _targets = Targets.Any();
    private readonly Option<bool> _batch = Flag("--batch", "print tables instead of filling the terminal; for scripts");
    private readonly Option<string> _interval = Interval("how long to measure each time [default: 1]");
    private readonly Option<string> _count = Text("--count", "COUNT", "end after so many intervals [default: without end]");
    private readonly Option<string> _sort = Text("--sort", "COLUMN", $"sort by this column [default: {DefaultColumn}]");
    private readonly Option<bool> _json = Flag("--json",
        "print a line of JSON for each interval, as described in qcow2blk-json(5); implies --batch");

    public TopVerb()
        : base("top", "show what all devices do, live: requests, throughput, latency, cache hits",
            "qcow2blk top", "qcow2blk top --sort writes disk other", "qcow2blk top --batch -n 3 --interval 0.5",
            "qcow2blk top --json -n 1 | jq '.devices[0][\"p99-ns\"]'")
    {
        _count.Aliases.Add("-n");
        _sort.CompletionSources.Add([.. TopColumn.All.Select(column => column.Name)]);
        Arguments.Add(_targets);
        foreach (var option in (Option[])[_batch, _interval, _count, _sort, _json])
            Options.Add(option);
        Does(Show);
    }

    /// <summary>--interval, of every verb that looks again and again.</summary>
    internal static Option<string> Interval(string description) => Text("--interval", "SECONDS", description);

    /// <exception cref="OutcomeException">usage</exception>
    internal static TimeSpan IntervalOf(ParseResult parsed, Option<string> option)
    {
        var seconds = Number(parsed, option) ?? 1;
        return seconds is >= 0.1 and <= 86400 ? TimeSpan.FromSeconds(seconds)
            : throw new OutcomeException(OutcomeKind.Invalid, $"{option.Name} {parsed.GetValue(option)} is out of range",
                "0.1 to 86400 seconds");
    }

    private ExitCode Show(ParseResult parsed)
    {
        var interval = IntervalOf(parsed, _interval);
        var count = CountOf(parsed);
        var column = ColumnOf(parsed.GetValue(_sort) ?? DefaultColumn);
        var rates = new DeviceRates(parsed.GetValue(_targets));
        var json = parsed.GetValue(_json);
        return json || parsed.GetValue(_batch) ? TopBatch.Run(rates, interval, column, count, json)
            : new TopView(rates, interval, column, count).Run(Otherwise);
    }

    private int? CountOf(ParseResult parsed)
    {
        if (parsed.GetValue(_count) is not { } text)
            return null;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count > 0 ? count
            : throw new OutcomeException(OutcomeKind.Invalid, $"--count {text} is not a positive whole number",
                "it is how many intervals to show");
    }

    private static TopColumn ColumnOf(string name) => TopColumn.ByName(name)
        ?? throw new OutcomeException(OutcomeKind.Invalid, $"--sort {name} is not a column",
            $"one of {string.Join(", ", TopColumn.All.Select(column => column.Name))}",
            Nearest.Hint(name, TopColumn.All.Select(column => column.Name)));
}
