using Qcow2Blk.Format;

namespace Qcow2Blk.Remote.Bases;

/// <summary>How a base and its source are.</summary>
internal enum SourceState
{
    /// <summary>The source answered when it was asked last.</summary>
    Online,

    /// <summary>Requests wait for a source that is away.</summary>
    WaitingForSource,

    /// <summary>The source has nothing to give any more that may be used: all reads that need it fail.</summary>
    Failed,

    /// <summary>All of the base is in the cache.</summary>
    Local,
}

internal static class SourceStates
{
    public static EnumWords<SourceState> Words { get; } = new(
        (SourceState.Online, "online"), (SourceState.WaitingForSource, "waiting-for-source"), (SourceState.Failed, "failed"),
        (SourceState.Local, "local"));
}
