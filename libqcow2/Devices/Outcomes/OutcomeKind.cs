namespace Qcow2Blk.Devices.Outcomes;

/// <summary>How a command ends: the exit status of <c>qcow2blk</c> and the <c>code</c> of the control protocol.</summary>
public enum OutcomeKind
{
    Done = 0,

    /// <summary>The command was understood and tried, and did not work.</summary>
    Failed = 1,

    /// <summary>The command line makes no sense: nothing was tried.</summary>
    Usage = 2,

    /// <summary>No attached device answers to the given target.</summary>
    NoTarget = 3,

    /// <summary>Somebody else has the image (a lock), or the device is busy with something that must end first.</summary>
    Busy = 4,
}
