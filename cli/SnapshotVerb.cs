using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk snapshot ACTION TARGET|IMAGE [SNAPSHOT]</c>.</summary>
internal sealed class SnapshotVerb : EditVerb
{
    private static readonly string[] s_actions = ["create", "delete", "list", "revert"];

    private readonly Argument<string> _action = new("ACTION") { Description = "create, delete, list or revert" };

    private readonly Argument<string?> _name = new("SNAPSHOT")
    {
        Description = "create: the name of the new snapshot; delete and revert: the ID or name of one; not for list",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private readonly Option<bool> _force =
        Flag("--force", "revert: an attached device too; whoever uses it sees its contents change");

    private readonly Option<bool> _json = JsonFlag();

    public SnapshotVerb()
        : base("snapshot", "keep states of a disk inside its image, and go back to them",
            "qcow2blk snapshot create disk before-upgrade",
            "qcow2blk snapshot list disk.qcow2",
            "qcow2blk snapshot revert disk.qcow2 before-upgrade",
            "qcow2blk snapshot delete disk before-upgrade")
    {
        _action.CompletionSources.Add(s_actions);
        Arguments.Add(_action);
        Arguments.Add(Target);
        Arguments.Add(_name);
        foreach (var option in (Option[])[_force, Timeout, _json])
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

        Require(parsed.GetValue(_name) is not null == (action != "list"),
            action == "list" ? "list takes no SNAPSHOT" : $"{action} needs a SNAPSHOT");
        Require(action == "revert" || !parsed.GetValue(_force), "--force is for revert");
        Require(action is "list" or "create" || !parsed.GetValue(_json), "--json is for list and create");
        var arguments = new Dictionary<string, string>();
        if (parsed.GetValue(_name) is { } name)
            arguments["name"] = name;
        if (parsed.GetValue(_force))
            arguments["force"] = "true";
        Tell(parsed, action, Run(parsed, new ImageEdit($"snapshot-{action}", arguments)));
        return ExitCode.Done;
    }

    private void Tell(ParseResult parsed, string action, Outcome outcome)
    {
        if (outcome.Note is { } note)
            Output.Note($"{parsed.GetValue(Target)}: {note}");
        if (outcome.Json is not { } json)
            return;
        if (parsed.GetValue(_json))
            Output.Json(writer => Output.Copy(writer, Encoding.UTF8.GetBytes(json)));
        else if (action == "list")
            Print(json);
    }

    private static void Require(bool holds, string why)
    {
        if (!holds)
            throw new OutcomeException(OutcomeKind.Invalid, "bad snapshot command line", why, "see \"qcow2blk snapshot --help\"");
    }

    private static void Print(string json)
    {
        using var document = JsonDocument.Parse(json);
        var table = new Table("ID", "NAME", "TAKEN", "DISK", "VM STATE");
        foreach (var snapshot in document.RootElement.EnumerateArray())
        {
            var taken = DateTimeOffset.FromUnixTimeSeconds(snapshot.GetProperty("date-sec").GetInt64()).ToLocalTime();
            table.Add(snapshot.GetProperty("id").GetString()!, snapshot.GetProperty("name").GetString()!,
                taken.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture),
                Size(snapshot.GetProperty("disk-size")), Size(snapshot.GetProperty("vm-state-size")));
        }

        Output.Write(table.ToString());
    }

    /// <summary>What an image claims may be any number.</summary>
    private static string Size(JsonElement bytes) =>
        bytes.TryGetInt64(out var known) ? Quantity.Bytes(known) : bytes.GetUInt64().ToString(CultureInfo.InvariantCulture);
}
