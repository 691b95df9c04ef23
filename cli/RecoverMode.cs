using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Cli;

/// <summary><c>attach --recover</c>: new servers for block devices whose servers died.</summary>
/// <param name="foreground">serve in the command's process</param>
/// <param name="recover">asked for by this</param>
/// <param name="recoverOrAttach">or by this</param>
/// <param name="discardLog">without the log of the dead server</param>
/// <param name="lockTimeout">may be another one than before</param>
/// <param name="logLevel">may be another one than before</param>
/// <param name="json">how the result is printed</param>
internal sealed class RecoverMode(
    Option<bool> foreground, Option<bool> recover, Option<bool> recoverOrAttach, Option<bool> discardLog, Option<string> lockTimeout,
    Option<string> logLevel, Option<bool> json)
{
    /// <summary>As no TARGET.</summary>
    private const string All = "all";

    /// <param name="parsed">the command line</param>
    /// <param name="target">which device; null for all</param>
    /// <param name="options">all that attach knows</param>
    /// <param name="serve">starts a server and tells the user about it</param>
    /// <returns>the first failure's status</returns>
    internal ExitCode Run(ParseResult parsed, string? target, IEnumerable<Option> options, Func<AttachOptions, ExitCode> serve)
    {
        RefuseOthers(parsed, options);
        DeviceRegistry registry = Targets.Registry();
        if (target is not null && !(target == All && registry.Find(All) is null))
            return serve(OptionsFor(parsed, Recovery.One(registry, target)));
        if (parsed.GetValue(foreground))
            throw new OutcomeException(OutcomeKind.Invalid, "--recover of all devices cannot stay in the foreground", "each device has a server of its own", "name one device");
        if (parsed.GetValue(json))
            throw new OutcomeException(OutcomeKind.Invalid, "--recover of all devices prints no JSON", "one object is that of one device", "name one device, or ask \"qcow2blk list --json\" after it");
        if (parsed.GetValue(discardLog))
            throw new OutcomeException(OutcomeKind.Invalid, "--discard-log needs the name of a device",
                "what several devices had answered is not given up at once", "name one device");
        ExitCode status = ExitCode.Done;
        foreach (DeviceRecord lost in Recovery.All(registry))
        {
            ExitCode result = TryServe(() => serve(OptionsFor(parsed, Recovery.One(registry, lost.Name))), lost.Name);
            status = status == ExitCode.Done ? result : status;
        }
        return status;
    }

    /// <summary>What a server must be started with to take over what a dead one of this image left.</summary>
    /// <returns>null if none did</returns>
    internal AttachOptions? Left(ParseResult parsed, string image, string? name)
    {
        DeviceRegistry registry = Targets.Registry();
        return registry.FindLostOf(image, name) is { } lost ? OptionsFor(parsed, Recovery.One(registry, lost.Name)) : null;
    }

    private AttachOptions OptionsFor(ParseResult parsed, DeviceRecord lost)
    {
        AttachOptions options = Recovery.OptionsFor(lost);
        return options with
        {
            Foreground = parsed.GetValue(foreground),
            DiscardLog = parsed.GetValue(discardLog),
            LockTimeout = LockTimeout.Read(parsed, lockTimeout) ?? options.LockTimeout,
            LogLevel = parsed.GetResult(logLevel) is { Implicit: false }
                ? LogLevels.Words.Parse(Verb.Word(parsed, logLevel, LogLevels.Words.All)) : options.LogLevel,
        };
    }

    /// <summary>What the device is cannot be changed now, so nobody shall believe that it was.</summary>
    private void RefuseOthers(ParseResult parsed, IEnumerable<Option> options)
    {
        Option[] allowed = [foreground, recover, discardLog, lockTimeout, logLevel, json];
        if (parsed.GetResult(recoverOrAttach) is { Implicit: false })
            throw new OutcomeException(OutcomeKind.Invalid, "--recover and --recover-or-attach exclude each other", "only the second attaches where nothing is to recover");
        if (options.FirstOrDefault(option => !allowed.Contains(option) && parsed.GetResult(option) is { Implicit: false }) is { } other)
            throw new OutcomeException(OutcomeKind.Invalid, $"--recover cannot be combined with {other.Name}",
                "a device is taken over with the options that it had", $"leave {other.Name} out");
    }

    private static ExitCode TryServe(Func<ExitCode> serve, string name)
    {
        try
        {
            return serve();
        }
        catch (Exception error)
        {
            OutcomeException refusal = Refusals.From(error, $"cannot recover {name}");
            Output.Error(refusal);
            return ExitCodes.Of(refusal.Kind);
        }
    }
}
