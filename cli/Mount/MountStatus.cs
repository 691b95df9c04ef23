using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli.Mount;

/// <summary>The exit status of mount(8) and its helpers.</summary>
internal enum MountStatus
{
    Done = 0,

    /// <summary>Wrong words, or not root.</summary>
    Usage = 1,

    /// <summary>The system lacks something: memory, processes, a program.</summary>
    System = 2,

    /// <summary>The user stopped it.</summary>
    Interrupted = 8,

    Failed = 32,
}

internal static class MountStatuses
{
    internal static MountStatus Of(OutcomeKind kind) => kind switch
    {
        OutcomeKind.Done => MountStatus.Done,
        OutcomeKind.Invalid => MountStatus.Usage,
        _ => MountStatus.Failed,
    };
}
