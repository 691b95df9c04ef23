namespace Qcow2Blk.Devices.Server;

/// <summary>How a server process ended, for the supervisor that waits for it: the exit status of that process.</summary>
internal enum ServerEnd
{
    /// <summary>The device was detached.</summary>
    Done = 0,

    /// <summary>It never served, or could not close the image; whoever waits was told why.</summary>
    Failed = 1,

    /// <summary>The device is another process's now.</summary>
    HandedOver = 10,
}
