using System;
using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;

namespace Qcow2Blk.Cli;

/// <summary><c>attach --recover</c>: new servers for block devices whose servers died.</summary>
/// <param name="table">what attach knows of devices; some of it may be said of a recovery</param>
/// <param name="recoverOrAttach">asked for by another</param>
/// <param name="json">how the result is printed</param>
internal sealed class RecoverMode(TableOptions table, Option<bool> recoverOrAttach, Option<bool> json)
{
    /// <summary>As no TARGET.</summary>
    private const string All = "all";

    /// <param name="parsed">the command line</param>
    /// <param name="target">which device; null for all</param>
    /// <param name="serve">starts a server and tells the user about it</param>
    /// <returns>the first failure's status</returns>
    internal ExitCode Run(ParseResult parsed, string? target, Func<AttachOptions, ExitCode> serve)
    {
        RefuseOthers(parsed);
        var said = table.Read(parsed);
        var registry = Targets.Registry();
        if (target is not null && !(target == All && registry.Find(All) is null))
            return serve(OptionsFor(parsed, Recovery.One(registry, target)));
        if (said.Foreground)
        {
            throw new OutcomeException(OutcomeKind.Invalid, "--recover of all devices cannot run in the foreground",
                "each device has a server of its own", "name one device");
        }

        if (parsed.GetValue(json))
        {
            throw new OutcomeException(OutcomeKind.Invalid, "--recover of all devices prints no JSON", "the object describes one device",
                "name one device, or ask \"qcow2blk list --json\" after it");
        }

        if (said.DiscardLog)
        {
            throw new OutcomeException(OutcomeKind.Invalid, "--discard-log needs the name of a device",
                "it never applies to several devices at once", "name one device");
        }

        var status = ExitCode.Done;
        foreach (var lost in Recovery.All(registry))
        {
            var result = TryServe(() => serve(OptionsFor(parsed, Recovery.One(registry, lost.Name))), lost.Name);
            status = status == ExitCode.Done ? result : status;
        }

        return status;
    }

    /// <summary>What a server must be started with to take over what a dead one of this image left.</summary>
    /// <returns>null if none did</returns>
    internal AttachOptions? Left(ParseResult parsed, string image, string? name)
    {
        var registry = Targets.Registry();
        return registry.FindLostOf(image, name) is { } lost ? OptionsFor(parsed, Recovery.One(registry, lost.Name)) : null;
    }

    private AttachOptions OptionsFor(ParseResult parsed, DeviceRecord lost)
    {
        var settings = new AttachSettings(Recovery.OptionsFor(lost));
        table.Read(parsed, settings, option => option.IsOfRecovery);
        return settings.Options;
    }

    /// <summary>What the device is cannot be changed now, so nobody shall believe that it was.</summary>
    private void RefuseOthers(ParseResult parsed)
    {
        if (TableOptions.IsGiven(parsed, recoverOrAttach))
        {
            throw new OutcomeException(OutcomeKind.Invalid, "--recover and --recover-or-attach cannot be used together",
                "only the second attaches when there is nothing to recover");
        }

        if (table.Given(parsed).FirstOrDefault(option => !option.IsOfRecovery) is { } other)
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"--recover cannot be combined with {other.Switch}",
                "a device is taken over with the options that it had", $"leave {other.Switch} out");
        }
    }

    private static ExitCode TryServe(Func<ExitCode> serve, string name)
    {
        try
        {
            return serve();
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, $"cannot recover {name}");
            Output.Error(refusal);
            return ExitCodes.Of(refusal.Kind);
        }
    }
}
