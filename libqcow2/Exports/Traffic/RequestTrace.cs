using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Threading;

namespace Qcow2Blk.Exports.Traffic;

/// <summary>Whether the requests of a device are traced: one look at a field while they are not.</summary>
internal sealed class RequestTrace
{
    private TraceSession? _session;

    /// <summary>Where requests that end are to be noted; null: nowhere. Any thread.</summary>
    public TraceSession? Session => Volatile.Read(ref _session);

    /// <summary>Begins to trace. Any thread.</summary>
    /// <param name="loops">how many the device has</param>
    /// <returns>null if somebody else does</returns>
    public TraceSession? TryBegin(int loops)
    {
        var session = new TraceSession(loops);
        return Interlocked.CompareExchange(ref _session, session, null) is null ? session : null;
    }

    /// <summary>Ends what <see cref="TryBegin"/> began. Any thread.</summary>
    public void End(TraceSession session) => Interlocked.CompareExchange(ref _session, null, session);
}

/// <summary>One trace, of all loops of a device, and its one reader.</summary>
/// <param name="loops">how many there are</param>
internal sealed class TraceSession(int loops)
{
    // Of each loop: what a fast device does in a third of a second, in 4 MiB.
    private const int Capacity = 1 << 16;

    private readonly TraceRing[] _rings = [.. Enumerable.Range(0, loops).Select(_ => new TraceRing(Capacity))];

    /// <summary>When it began, in ticks of the stopwatch.</summary>
    public long Began { get; } = Stopwatch.GetTimestamp();

    /// <summary>Requests that the reader was too slow for. Any thread.</summary>
    public long Lost => _rings.Sum(ring => ring.Lost);

    /// <summary>A request has ended. On its loop.</summary>
    public void Add(in TraceRecord record) => _rings[record.Loop].Add(record);

    /// <summary>What has ended since the last call, in the order in which it ended. By the reader.</summary>
    public IReadOnlyList<TraceRecord> Take()
    {
        var records = new List<TraceRecord>();
        foreach (var ring in _rings)
            ring.Take(records);
        return [.. records.OrderBy(record => record.Started + record.Ticks)];
    }
}
