using System;
using System.Collections.Generic;
using System.CommandLine;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli;

/// <summary>What detach, suspend and resume share: one request to the server of each target, and a report.</summary>
internal abstract class DeviceCommand : Verb
{
    private readonly Argument<string[]> _targets = Targets.Several();
    private readonly Option<string> _timeout = Text("--timeout", "SECONDS", "how long each device may take [default: 30]");
    private readonly Option<bool> _json = JsonFlag();

    protected DeviceCommand(string name, string description, params string[] examples)
        : base(name, description, examples)
    {
        Arguments.Add(_targets);
        Options.Add(_timeout);
        Options.Add(_json);
        Does(Run);
    }

    /// <summary>The request for the server.</summary>
    protected abstract ControlRequest Request(ParseResult parsed, TimeSpan timeout);

    /// <summary>What to do where the server is dead.</summary>
    protected virtual Outcome OnDead(DeviceRegistry registry, DeviceEntry entry, ControlRequest request)
    {
        var record = entry.Record;
        var what = $"cannot {Name} {record.Name}";
        return entry.IsRecovering
            ? Outcome.Refused(OutcomeKind.Busy, what, "its server died and is being started again", "try again in a moment")
            : registry.IsLost(entry)
                ? Outcome.Refused(OutcomeKind.Failed, what, $"its server is dead, and {record.DevicePath} waits for another",
                $"\"qcow2blk attach --recover {record.Name}\" starts one, \"qcow2blk detach {record.Name}\" ends it")
            : Outcome.Refused(OutcomeKind.Failed, what, "its server is dead", $"\"qcow2blk detach {record.Name}\" cleans up after it");
    }

    /// <summary>What to do where the server lives.</summary>
    protected virtual Outcome OnAlive(DeviceRegistry registry, DeviceEntry entry, ControlRequest request)
    {
        using var client = ControlClient.TryConnect(registry.Directory, entry.Record.Name);
        return client is null
            ? Outcome.Refused(OutcomeKind.Busy, $"cannot {Name} {entry.Record.Name}", "its server is still starting", "try again")
            : client.Ask(request).Result;
    }

    /// <summary>What to do where no device answers to the target.</summary>
    /// <returns>null to say that</returns>
    protected virtual Outcome? OnUnknown(string target, ControlRequest request) => null;

    /// <summary>The devices that are meant.</summary>
    protected virtual IReadOnlyList<string> TargetsOf(ParseResult parsed, DeviceRegistry registry, string[] given) => given;

    /// <summary>For verbs that have another way to say which devices are meant.</summary>
    protected void TargetsMayBeMissing() => _targets.Arity = ArgumentArity.ZeroOrMore;

    private ExitCode Run(ParseResult parsed)
    {
        var request = Request(parsed, Seconds(parsed, _timeout));
        var registry = Targets.Registry();
        var outcomes = new List<(string Target, Outcome Result)>();
        foreach (var target in TargetsOf(parsed, registry, parsed.GetValue(_targets) ?? []))
            outcomes.Add((target, One(registry, target, request)));
        if (parsed.GetValue(_json))
            PrintJson(outcomes);
        return Report(outcomes);
    }

    /// <exception cref="OutcomeException">usage</exception>
    internal static TimeSpan Seconds(ParseResult parsed, Option<string> timeout)
    {
        var seconds = Number(parsed, timeout) ?? ControlRequest.DefaultTimeout.TotalSeconds;
        return seconds is >= 0 and <= ControlRequest.MaxTimeoutSeconds ? TimeSpan.FromSeconds(seconds)
            : throw new OutcomeException(OutcomeKind.Invalid, $"--timeout {seconds} is out of range",
                $"0 to {ControlRequest.MaxTimeoutSeconds} seconds");
    }

    private Outcome One(DeviceRegistry registry, string target, ControlRequest request)
    {
        try
        {
            var entry = registry.Resolve(target);
            return entry.Alive ? OnAlive(registry, entry, request) : OnDead(registry, entry, request);
        }
        catch (OutcomeException error)
        {
            return (error.Kind == OutcomeKind.NotFound ? OnUnknown(target, request) : null)
                ?? Outcome.Refused(error.Kind, error.What, error.Why, error.Hint);
        }
    }

    /// <returns>the first failure's status</returns>
    private static ExitCode Report(List<(string Target, Outcome Result)> outcomes)
    {
        var status = ExitCode.Done;
        foreach ((var target, var result) in outcomes)
        {
            if (result.Note is { } note)
                Output.Note($"{target}: {note}");
            if (result.Succeeded)
                continue;
            Output.Error(result.What ?? target, result.Why ?? "failed", result.Hint);
            if (status == ExitCode.Done)
                status = ExitCodes.Of(result.Kind);
        }

        return status;
    }

    private static void PrintJson(List<(string Target, Outcome Result)> outcomes) => Output.Json(writer =>
    {
        writer.WriteStartArray();
        foreach ((var target, var result) in outcomes)
        {
            writer.WriteStartObject();
            writer.WriteString("target"u8, target);
            ControlReply.WriteResult(writer, result);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    });
}
