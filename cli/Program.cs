using System;
using Qcow2Blk.Devices;

namespace Qcow2Blk.Cli;

internal static class Program
{
    private static int Main(string[] args)
    {
        IDeviceFactory factory = Engine.Factory;
        // A server process reads no command line: its options come on a descriptor, and every millisecond is waited for.
        if (args.Length > 0 && args[0] == BackgroundServer.Verb)
            return (int)BackgroundServer.Serve(factory, EndSignals.WatchInBackground);
        return new CommandLine(factory).Run(args);
    }
}
