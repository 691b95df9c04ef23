using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk checkpoint create|delete NAME TARGET…</c> and <c>qcow2blk checkpoint list TARGET…</c>.</summary>
internal sealed class CheckpointVerb : EditVerb
{
    private static readonly string[] s_actions = ["create", "delete", "list"];

    private readonly Argument<string> _action = new("ACTION") { Description = "create, delete or list" };

    private readonly Argument<string[]> _words = new("[NAME] TARGET|IMAGE")
    {
        Description = "the checkpoint, unless they are listed; then devices, or images that are not attached",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<string> _granularity =
        Text("--granularity", "SIZE", "create: bytes that one bit of the bitmap stands for [default: 64K, or as before]");

    private readonly Option<bool> _json = JsonFlag();

    public CheckpointVerb()
        : base("checkpoint", "fix a point in time of one or several disks, and record what changes since",
            "qcow2blk checkpoint create monday disk",
            "qcow2blk checkpoint list disk",
            "qcow2blk checkpoint delete monday disk")
    {
        _action.CompletionSources.Add(s_actions);
        Arguments.Add(_action);
        Arguments.Add(_words);
        foreach (var option in (Option[])[_granularity, Timeout, _json])
            Options.Add(option);
        Does(Run);
    }

    private ExitCode Run(ParseResult parsed)
    {
        var (action, words) = (parsed.GetValue(_action)!, parsed.GetValue(_words)!);
        if (!s_actions.Contains(action))
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"bad action \"{action}\"", $"it is not one of {string.Join(", ", s_actions)}",
                Nearest.Hint(action, s_actions));
        }

        Require(action == "list" || words.Length > 1, $"{action} needs a NAME and a TARGET");
        Require(action == "create" || parsed.GetValue(_granularity) is null, "--granularity is for create");
        Require(action == "list" || !parsed.GetValue(_json), "--json is for list");
        if (action == "list")
            return List(parsed, words);
        var targets = words[1..];
        if (action == "create")
            return Create(parsed, words[0], targets);
        foreach (var target in targets)
        {
            if (On(target, parsed, Edit("delete", words[0])).Note is { } note)
                Output.Note($"{target}: {note}");
        }

        return ExitCode.Done;
    }

    /// <summary>An image that nobody uses does not change, so it is of any instant; it is done before requests have to wait.</summary>
    private ExitCode Create(ParseResult parsed, string name, string[] targets)
    {
        var (create, delete) = (Edit("create", name, parsed.GetValue(_granularity)), Edit("delete", name));
        var done = new List<string>();
        try
        {
            var registry = Targets.Registry();
            var devices = new SortedDictionary<string, DeviceEntry>(StringComparer.Ordinal);
            foreach (var target in targets)
            {
                if (Find(registry, target) is { } entry)
                {
                    devices[entry.Record.Name] = entry;
                    continue;
                }

                On(target, parsed, create);
                done.Add(target);
            }

            OnDevices(registry, devices.Values, parsed, create, delete);
            return ExitCode.Done;
        }
        catch (OutcomeException)
        {
            foreach (var target in done)
                On(target, parsed, delete);
            throw;
        }
    }

    private void OnDevices(
        DeviceRegistry registry, IReadOnlyCollection<DeviceEntry> devices, ParseResult parsed, ImageEdit create, ImageEdit delete)
    {
        var clients = new List<ControlClient>();
        try
        {
            foreach (var entry in devices)
                clients.Add(Connect(registry, entry, create));
            if (clients.Count == 0)
                return;
            var edit = new JointEdit(clients, create, delete, TimeoutOf(parsed));
            foreach (var outcome in edit.RunAsync().GetAwaiter().GetResult())
                RefuseUnlessDone(outcome);
        }
        finally
        {
            foreach (var client in clients)
                client.Dispose();
        }
    }

    private static ImageEdit Edit(string action, string name, string? granularity = null)
    {
        var arguments = new Dictionary<string, string> { ["name"] = name };
        if (granularity is not null)
            arguments["granularity"] = granularity;
        return new ImageEdit($"checkpoint-{action}", arguments);
    }

    private ExitCode List(ParseResult parsed, string[] targets)
    {
        Require(targets.Length == 1 || !parsed.GetValue(_json), "--json is of one TARGET");
        var table = new Table("DISK", "NAME", "TAKEN", "BITMAP", "DIRTY");
        foreach (var target in targets)
        {
            var json = On(target, parsed, new ImageEdit("checkpoint-list", new Dictionary<string, string>())).Json!;
            if (parsed.GetValue(_json))
                Output.Json(writer => Output.Copy(writer, Encoding.UTF8.GetBytes(json)));
            else
                Add(table, target, json);
        }

        if (!parsed.GetValue(_json))
            Output.Write(table.ToString());
        return ExitCode.Done;
    }

    private static void Add(Table table, string target, string json)
    {
        using var document = JsonDocument.Parse(json);
        foreach (var checkpoint in document.RootElement.EnumerateArray())
        {
            var taken = DateTimeOffset.FromUnixTimeSeconds(checkpoint.GetProperty("date-sec").GetInt64()).ToLocalTime();
            table.Add(target, checkpoint.GetProperty("name").GetString()!,
                taken.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture), checkpoint.GetProperty("bitmap").GetString()!,
                checkpoint.TryGetProperty("dirty-bytes", out var dirty) ? Quantity.Bytes(dirty.GetInt64()) : "unknown");
        }
    }

    private static void Require(bool holds, string why)
    {
        if (!holds)
        {
            throw new OutcomeException(
                OutcomeKind.Invalid, "bad checkpoint command line", why, "see \"qcow2blk checkpoint --help\"");
        }
    }
}
