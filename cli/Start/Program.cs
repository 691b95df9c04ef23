using System.Globalization;
using Qcow2Blk.Cli.Dm;
using Qcow2Blk.Cli.Mount;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Cli.Start;

internal static class Program
{
    private static int Main(string[] args)
    {
        // A reader or client that goes away is an errno, not the end of the process. The library leaves signals alone.
        Signals.IgnoreBrokenPipes();
        if (CalledAs.Other() is { } name)
            return Run(name, args);
        // These read no command line: their options come on a descriptor, and every millisecond is waited for.
        return args switch
        {
            [BackgroundServer.Verb, ..] => (int)BackgroundServer.Serve(Engine.Factory, EndSignals.WatchInBackground, SupervisorOf(args)),
            [Supervisor.Verb, ..] => Supervisor.Main(JitHost.Arguments, EndSignals.WatchInBackground),
            [Launcher.Verb, ..] => (int)Launcher.Main(JitHost.Arguments),
            [DeviceStopper.Verb, ..] => (int)ExitCodes.Of(DeviceStopper.Main(args)),
            [UdevName.Verb, ..] => UdevName.Print(args),
            [UdevName.OwnerVerb, ..] => UdevName.PrintOwner(args),
            [SystemdGenerator.Verb, ..] => SystemdGenerator.Run(args),
            [ShutdownGuard.Verb, ..] => (int)ExitCodes.Of(ShutdownGuard.Main(ServerProgram.Self(JitHost.Arguments))),
            _ => Refuse(args) ?? new CommandLine(Engine.Factory).Run(args),
        };
    }

    /// <summary>The command under another name.</summary>
    private static int Run(string name, string[] args)
    {
        Output.Program = name;
        return Refuse(args) ?? name switch
        {
            MountHelper.Name => MountHelper.Run(args),
            UnmountHelper.Name => UnmountHelper.Run(args),
            _ => DmCommand.Run(args),
        };
    }

    /// <returns>the exit status if the words cannot be understood, whoever reads them</returns>
    private static int? Refuse(string[] args)
    {
        try
        {
            RawArguments.RequireUtf8(args);
            return null;
        }
        catch (OutcomeException refusal)
        {
            Output.Error(refusal);
            return (int)ExitCodes.Of(refusal.Kind);
        }
    }

    /// <summary>serve IMAGE [SUPERVISOR]</summary>
    private static int? SupervisorOf(string[] args) =>
        args.Length > 2 && int.TryParse(args[2], NumberStyles.None, CultureInfo.InvariantCulture, out var pid) ? pid : null;
}
