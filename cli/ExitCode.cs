using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary>The exit status of <c>qcow2blk</c>; the manual lists them.</summary>
internal enum ExitCode
{
    Done = 0,

    /// <summary>The command was understood and tried, and did not work.</summary>
    Failed = 1,

    /// <summary>The command line makes no sense: nothing was tried.</summary>
    Usage = 2,

    /// <summary>No attached device answers to the given target.</summary>
    NotFound = 3,

    /// <summary>Somebody else has the image (a lock), or the device is busy with something that must end first.</summary>
    Busy = 4,
}

/// <summary>The only place where an outcome becomes a number.</summary>
internal static class ExitCodes
{
    internal static ExitCode Of(OutcomeKind kind) => kind switch
    {
        OutcomeKind.Done => ExitCode.Done,
        OutcomeKind.Invalid => ExitCode.Usage,
        OutcomeKind.NotFound => ExitCode.NotFound,
        OutcomeKind.Busy => ExitCode.Busy,
        _ => ExitCode.Failed,
    };
}
