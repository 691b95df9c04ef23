using System;

namespace Qcow2Blk.Remote;

/// <summary>How long a source may keep one attempt waiting. All lie far below what the kernel gives a request.</summary>
internal static class SourceTimeouts
{
    public static TimeSpan Connect { get; } = TimeSpan.FromSeconds(5);

    /// <summary>From the request to the first byte of its answer.</summary>
    public static TimeSpan FirstByte { get; } = TimeSpan.FromSeconds(10);

    /// <summary>Between two bytes of an answer: one that drips is given up, too (<see cref="SlowestRate"/>).</summary>
    public static TimeSpan Progress { get; } = TimeSpan.FromSeconds(10);

    /// <summary>Bytes a second, over <see cref="Progress"/>, below which an answer counts as stalled.</summary>
    public const int SlowestRate = 1024;
}
