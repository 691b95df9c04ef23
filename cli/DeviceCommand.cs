using System;
using System.Collections.Generic;
using System.CommandLine;
using Qcow2Blk.Devices;

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
    protected abstract DeviceResult OnDead(DeviceRegistry registry, DeviceRecord record);

    /// <summary>After success, with the connection still open.</summary>
    protected virtual DeviceResult AfterSuccess(ControlClient client, DeviceResult result, TimeSpan timeout) => result;

    private ExitStatus Run(ParseResult parsed)
    {
        double seconds = Number(parsed, _timeout) ?? ControlRequest.DefaultTimeout.TotalSeconds;
        if (seconds is not (>= 0 and <= ControlRequest.MaxTimeoutSeconds))
            throw new DeviceException(ExitStatus.Usage, $"--timeout {seconds} is out of range", $"0 to {ControlRequest.MaxTimeoutSeconds} seconds");
        ControlRequest request = Request(parsed, TimeSpan.FromSeconds(seconds));
        DeviceRegistry registry = Targets.Registry();
        var outcomes = new List<(string Target, DeviceResult Result)>();
        foreach (string target in parsed.GetValue(_targets)!)
            outcomes.Add((target, One(registry, target, request)));
        if (parsed.GetValue(_json))
            PrintJson(outcomes);
        return Report(outcomes);
    }

    private DeviceResult One(DeviceRegistry registry, string target, ControlRequest request)
    {
        try
        {
            DeviceEntry entry = registry.Resolve(target);
            if (!entry.Alive)
                return OnDead(registry, entry.Record);
            using ControlClient? client = ControlClient.TryConnect(registry.Directory, entry.Record.Name);
            if (client is null)
                return DeviceResult.Refused(ExitStatus.Busy, $"cannot {Name} {entry.Record.Name}", "its server is still starting", "try again");
            ControlReply reply = client.Ask(request);
            return reply.Result.Succeeded ? AfterSuccess(client, reply.Result, request.Timeout) : reply.Result;
        }
        catch (DeviceException error)
        {
            return DeviceResult.Refused(error.Status, error.What, error.Why, error.Hint);
        }
    }

    /// <returns>the first failure's status</returns>
    private static ExitStatus Report(List<(string Target, DeviceResult Result)> outcomes)
    {
        var status = ExitStatus.Done;
        foreach ((string target, DeviceResult result) in outcomes)
        {
            if (result.Note is { } note)
                Output.Note($"{target}: {note}");
            if (result.Succeeded)
                continue;
            Output.Error(result.What ?? target, result.Why ?? "failed", result.Hint);
            if (status == ExitStatus.Done)
                status = result.Status;
        }
        return status;
    }

    private static void PrintJson(List<(string Target, DeviceResult Result)> outcomes) => Output.Json(writer =>
    {
        writer.WriteStartArray();
        foreach ((string target, DeviceResult result) in outcomes)
        {
            writer.WriteStartObject();
            writer.WriteString("target"u8, target);
            ControlReply.WriteResult(writer, result);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
    });
}
