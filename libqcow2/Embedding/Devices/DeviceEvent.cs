namespace Qcow2Blk.Embedding.Devices;

/// <summary>What a device does, by the numbers of QCOW2BLK_STATE_*.</summary>
internal enum EmbeddedState
{
    Running = 0,
    Suspending = 1,
    Suspended = 2,
    Detaching = 3,
    Failed = 4,

    /// <summary>Detached, or its server died and no other follows.</summary>
    Ended = 5,
}

/// <summary>What an event is about, by the numbers of QCOW2BLK_EVENT_*.</summary>
internal enum DeviceEventKind
{
    /// <summary>The state has changed, by whomever.</summary>
    State = 1,

    /// <summary>Requests wait for space: the value says how many, 0 when it is over.</summary>
    NoSpace = 2,

    /// <summary>Something failed that no request could be told of.</summary>
    Error = 3,

    /// <summary>The image takes no more writes.</summary>
    Corrupt = 4,

    /// <summary>Another process serves the device now: the value is its number, 0 while there is none.</summary>
    Server = 5,
}

/// <summary>What happened to a device.</summary>
/// <param name="Kind">what it is about</param>
/// <param name="State">what the device did at that time; the last that was known while there is no server</param>
/// <param name="Value">see the kinds</param>
/// <param name="Message">one line for people; may be empty</param>
internal readonly record struct DeviceEvent(DeviceEventKind Kind, EmbeddedState State, int Value, string Message);
