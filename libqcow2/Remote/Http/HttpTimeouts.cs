using System;

namespace Qcow2Blk.Remote.Http;

/// <summary>How long one attempt may be kept waiting, for tests to shorten.</summary>
internal sealed record HttpTimeouts
{
    public static HttpTimeouts Default { get; } = new();

    public TimeSpan Connect { get; init; } = SourceTimeouts.Connect;

    public TimeSpan FirstByte { get; init; } = SourceTimeouts.FirstByte;

    public TimeSpan Progress { get; init; } = SourceTimeouts.Progress;

    /// <summary>Bytes a second.</summary>
    public int SlowestRate { get; init; } = SourceTimeouts.SlowestRate;

    /// <summary>How long a place that was redirected to is asked at once.</summary>
    public TimeSpan RedirectAge { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long a command may take that prints credentials.</summary>
    public TimeSpan Command { get; init; } = TimeSpan.FromSeconds(30);
}
