using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk bitmap ACTION TARGET|IMAGE [NAME]</c>.</summary>
internal sealed class BitmapVerb : EditVerb
{
    private static readonly string[] s_actions = ["add", "remove", "clear", "enable", "disable", "merge", "list"];

    private readonly Argument<string> _action = new("ACTION") { Description = "add, remove, clear, enable, disable, merge or list" };

    private readonly Argument<string?> _name = new("NAME")
    {
        Description = "the bitmap; not for list",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private readonly Option<string> _granularity =
        Text("--granularity", "BYTES", "add: bytes of the disk that one bit stands for [default: the cluster size, 4K to 64K]");

    private readonly Option<bool> _disabled = Flag("--disabled", "add: do not record until it is enabled");
    private readonly Option<string> _from = Text("--from", "NAME", "merge: the bitmap whose bits are added");
    private readonly Option<bool> _json = JsonFlag();

    public BitmapVerb()
        : base("bitmap", "record which parts of a disk change, for incremental backups",
            "qcow2blk bitmap add disk monday",
            "qcow2blk bitmap add disk.qcow2 monday --granularity 64K --disabled",
            "qcow2blk bitmap merge disk week --from monday",
            "qcow2blk bitmap list disk --json",
            "qcow2blk bitmap remove disk monday")
    {
        _action.CompletionSources.Add(s_actions);
        Arguments.Add(_action);
        Arguments.Add(Target);
        Arguments.Add(_name);
        foreach (var option in (Option[])[_granularity, _disabled, _from, Timeout, _json])
            Options.Add(option);
        Does(Run);
    }

    private ExitCode Run(ParseResult parsed)
    {
        var action = parsed.GetValue(_action)!;
        if (!s_actions.Contains(action))
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"bad action \"{action}\"", $"it is not one of {string.Join(", ", s_actions)}",
                Nearest.Hint(action, s_actions));
        }

        RefuseMisplaced(parsed, action);
        var outcome = Run(parsed, new ImageEdit($"bitmap-{action}", ArgumentsOf(parsed)));
        if (outcome.Note is { } note)
            Output.Note($"{parsed.GetValue(Target)}: {note}");
        if (outcome.Json is not { } json)
            return ExitCode.Done;
        if (parsed.GetValue(_json))
            Output.Json(writer => Output.Copy(writer, Encoding.UTF8.GetBytes(json)));
        else
            Print(json);
        return ExitCode.Done;
    }

    /// <exception cref="OutcomeException">an option that the action has no use for, or one that it needs is missing</exception>
    private void RefuseMisplaced(ParseResult parsed, string action)
    {
        Require(parsed.GetValue(_name) is not null == (action != "list"),
            action == "list" ? "list takes no NAME" : $"{action} needs a NAME");
        Require(action == "add" || (parsed.GetValue(_granularity) is null && !parsed.GetValue(_disabled)),
            "--granularity and --disabled are for add");
        Require(parsed.GetValue(_from) is not null == (action == "merge"),
            action == "merge" ? "merge needs --from" : "--from is for merge");
        Require(action == "list" || !parsed.GetValue(_json), "--json is for list");
    }

    private static void Require(bool holds, string why)
    {
        if (!holds)
            throw new OutcomeException(OutcomeKind.Invalid, "bad bitmap command line", why, "see \"qcow2blk bitmap --help\"");
    }

    private Dictionary<string, string> ArgumentsOf(ParseResult parsed)
    {
        var arguments = new Dictionary<string, string>();
        if (parsed.GetValue(_name) is { } name)
            arguments["name"] = name;
        if (parsed.GetValue(_granularity) is { } granularity)
            arguments["granularity"] = granularity;
        if (parsed.GetValue(_disabled))
            arguments["disabled"] = "true";
        if (parsed.GetValue(_from) is { } from)
            arguments["from"] = from;
        return arguments;
    }

    private static void Print(string json)
    {
        using var document = JsonDocument.Parse(json);
        var table = new Table("NAME", "GRANULARITY", "STATE", "DIRTY");
        foreach (var bitmap in document.RootElement.EnumerateArray())
        {
            table.Add(bitmap.GetProperty("name").GetString()!, Quantity.Bytes(bitmap.GetProperty("granularity").GetInt64()),
                bitmap.GetProperty("state").GetString()!,
                bitmap.TryGetProperty("dirty-bytes", out var dirty) ? Quantity.Bytes(dirty.GetInt64()) : "unknown");
        }

        Output.Write(table.ToString());
    }
}
