using System;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli.Dm;

/// <summary>
/// <c>qcow2-dm</c>: the commands, lines and exit statuses of the script of that name, which made device-mapper targets of qcow2 images.
/// The devices are ours.
/// </summary>
internal static class DmCommand
{
    internal const string Name = "qcow2-dm";

    /// <summary>Whatever went wrong, scripts know one number for it.</summary>
    internal const int Failed = 1;

    private const string Usage =
        $"""
        Usage:
        	{Name} create FILE DEVICE_NAME
        	{Name} remove FILE
        	{Name} check [OPTION OF qemu-img check]... FILE
        	{Name} snapshot [OPTION OF qemu-img snapshot]... FILE
        	{Name} resize [OPTION OF qemu-img resize]... FILE [+|-]SIZE
        """;

    internal static int Run(string[] args)
    {
        // What was begun is brought to its end: a device must not stay suspended because of Ctrl-C.
        using var signals = EndSignals.WatchInForeground(() => { });
        try
        {
            return args switch
            {
                ["create", var file, var name] => DeviceCreation.Run(file, name),
                ["remove", var file] => DeviceRemoval.Run(file),
                ["check" or "snapshot", _, ..] => new LiveCall(args, args[^1]).Run(),
                ["resize", _, _, ..] => new LiveCall(args, args[^2]).Run(),
                ["create" or "remove" or "check" or "snapshot" or "resize", ..] => RefuseCount(),
                _ => ShowUsage(),
            };
        }
        catch (Exception error)
        {
            Output.Error(Refusals.From(error, $"{string.Join(' ', args)} failed"));
            return Failed;
        }
    }

    /// <summary>A line of the script's that it printed on standard error.</summary>
    internal static void Complain(string line) => Console.Error.WriteLine(line);

    private static int RefuseCount()
    {
        Complain("Wrong number of arguments.");
        return ShowUsage();
    }

    private static int ShowUsage()
    {
        Output.Line(Usage);
        return Failed;
    }
}
