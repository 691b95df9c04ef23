using System;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli;

/// <summary>The state of a device as <c>list</c> shows it: the server's word, or why there is none.</summary>
internal static class LiveState
{
    internal const string Dead = "dead";
    internal const string Starting = "starting";
    internal const string Recovering = "recovering";
    internal const string Silent = "silent";

    /// <summary>A server that does not answer a greeting for so long hangs; the list goes on without it.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.Zero;

    internal static string Of(DeviceRegistry registry, DeviceEntry entry)
    {
        if (!entry.Alive)
            return entry.IsRecovering ? Recovering : Dead;
        try
        {
            using var client = ControlClient.TryConnect(registry.Directory, entry.Record.Name);
            return client is null ? WithoutSocket(entry)
                : client.Ask(new ControlRequest(ControlVerb.Hello, s_patience, Force: false, AllowShrink: false)).State ?? Silent;
        }
        catch (OutcomeException)
        {
            return Silent;
        }
    }

    /// <summary>A server that has no socket yet opens its image; one with a device already takes that over.</summary>
    internal static string WithoutSocket(DeviceEntry entry) => entry.Record.DevicePath is null ? Starting : Recovering;
}
