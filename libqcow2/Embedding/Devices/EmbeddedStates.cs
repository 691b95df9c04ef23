using System;
using Qcow2Blk.Devices.Control;

namespace Qcow2Blk.Embedding.Devices;

internal static class EmbeddedStates
{
    /// <summary>The state that a server tells, by the number that programs know.</summary>
    public static EmbeddedState Of(DeviceState state) => state switch
    {
        DeviceState.Running or DeviceState.WaitingForSource => EmbeddedState.Running,
        DeviceState.Suspending => EmbeddedState.Suspending,
        DeviceState.Suspended => EmbeddedState.Suspended,
        DeviceState.Detaching => EmbeddedState.Detaching,
        DeviceState.Failed => EmbeddedState.Failed,
        _ => throw new ArgumentOutOfRangeException(nameof(state), $"{state} has no number"),
    };
}
