using System;
using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk upgrade TARGET</c>.</summary>
internal sealed class UpgradeVerb : Verb
{
    private readonly Argument<string> _target = Targets.One();
    private readonly Option<string> _timeout = Text("--timeout", "SECONDS", "how long to wait for requests in flight [default: 30]");
    private readonly Option<bool> _json = JsonFlag();

    public UpgradeVerb()
        : base("upgrade", "replace a block device's running server with this program; users see a short pause",
            "qcow2blk upgrade disk",
            "qcow2blk upgrade /dev/ublkb0 --json")
    {
        Arguments.Add(_target);
        Options.Add(_timeout);
        Options.Add(_json);
        Does(Run);
    }

    private ExitCode Run(ParseResult parsed)
    {
        var timeout = DeviceCommand.Seconds(parsed, _timeout);
        var registry = Targets.Registry();
        var entry = registry.Resolve(parsed.GetValue(_target)!);
        var outcome = Upgrade.Run(registry, entry, ServerProgram.Self(JitHost.Arguments), timeout);
        if (parsed.GetValue(_json))
            Output.Json(writer => Describe(writer, outcome));
        else
            Output.Line($"{outcome.Record.DevicePath}: paused {Milliseconds(outcome.Pause)} ms");
        if (outcome.Failure is not { } failure)
            return ExitCode.Done;
        Output.Error($"cannot upgrade {outcome.Record.Name}", failure.Why, "its old program is serving it again");
        return ExitCode.Failed;
    }

    private static string Milliseconds(TimeSpan pause) => pause.TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture);

    private static void Describe(Utf8JsonWriter writer, UpgradeOutcome outcome)
    {
        writer.WriteStartObject();
        writer.WriteString("name"u8, outcome.Record.Name);
        writer.WriteString("device"u8, outcome.Record.DevicePath);
        writer.WriteString("image"u8, outcome.Record.Image);
        writer.WriteNumber("pid"u8, outcome.Record.Pid);
        writer.WriteNumber("pause-ns"u8, (long)outcome.Pause.TotalNanoseconds);
        writer.WriteBoolean("upgraded"u8, outcome.Failure is null);
        writer.WriteEndObject();
    }
}
