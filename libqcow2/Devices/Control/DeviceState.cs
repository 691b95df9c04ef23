using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Control;

/// <summary>Where in its life an attached device is. The lower-case name is what <c>list</c> and <c>status</c> print.</summary>
internal enum DeviceState
{
    Running,

    /// <summary>Running, and requests wait for the source of a base, which is away.</summary>
    WaitingForSource,

    /// <summary>New requests are held; those in flight are being finished and flushed.</summary>
    Suspending,

    /// <summary>The file on disk is a complete, closed qcow2 without our locks; requests are held.</summary>
    Suspended,

    /// <summary>The image can no longer be written (metadata found corrupt, resume impossible); reads may go on.</summary>
    Failed,

    Detaching,
}

internal static class DeviceStates
{
    public static EnumWords<DeviceState> Words { get; } = new(
        (DeviceState.Running, "running"), (DeviceState.WaitingForSource, "waiting-for-source"),
        (DeviceState.Suspending, "suspending"), (DeviceState.Suspended, "suspended"), (DeviceState.Failed, "failed"),
        (DeviceState.Detaching, "detaching"));
}
