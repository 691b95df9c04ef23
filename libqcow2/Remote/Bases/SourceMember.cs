using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>One of the places that have a base, and how it was lately.</summary>
internal sealed class SourceMember(IRemoteSource source)
{
    public IRemoteSource Source { get; } = source;

    public AsyncLock Opening { get; } = new();

    public bool IsOpen { get; set; }

    /// <summary>Whether it is not the base any more, or never was.</summary>
    public bool IsDropped { get; set; }

    /// <summary>When it failed last; null if it has answered since.</summary>
    public long? DownSince { get; set; }

    /// <summary>When it said last that it is asked for too much; null for never.</summary>
    public long? BusySince { get; set; }

    /// <summary>Reads in a row that another one had answered before it did.</summary>
    public int Overtaken { get; set; }

    public RecentTimes Times { get; } = new();
}
