using System;
using System.Collections.Generic;
using System.Diagnostics;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports;

/// <summary>
/// Requests of one loop that a limit holds back. Reads and writes have a line each, so that a limit of the one does not hold
/// the other up; in a line they begin in the order in which they came. Belongs to its loop.
/// </summary>
/// <param name="loop">where it belongs</param>
/// <param name="limits">of the device</param>
/// <param name="begin">begins a request that may begin now</param>
/// <param name="clock">nanoseconds that never go back, the same for all loops; null: the machine's</param>
internal sealed class LimitQueue(LoopScheduler loop, RequestLimits limits, Action<IGatedRequest> begin, Func<long>? clock = null)
{
    // A limit that was changed or lifted, or a request of the other kind, may make less of a long wait.
    private const int LongestSleepMilliseconds = 10;

    private readonly Queue<IGatedRequest> _reads = new();
    private readonly Queue<IGatedRequest> _writes = new();
    private bool _isAsleep;
    private bool _isHeld;

    /// <summary>How many are held back.</summary>
    public int Count => _reads.Count + _writes.Count;

    /// <summary>Whether a request that comes may have to wait.</summary>
    public bool IsNeeded => limits.IsOn || Count > 0;

    /// <summary>A request comes.</summary>
    /// <returns>false if it is kept, and begins later</returns>
    public bool TryPass(IGatedRequest request)
    {
        if (request.LimitedAs == IoKind.Other)
            return true;
        var line = request.LimitedAs == IoKind.Read ? _reads : _writes;
        if (line.Count == 0 && limits.TryPass(request.LimitedAs, request.LimitedBytes, Now()) is var wait)
        {
            if (wait <= 0)
                return true;
            Sleep(wait);
        }

        request.NoteWait(RequestWaits.Limit);
        line.Enqueue(request);
        return false;
    }

    /// <summary>Lets none begin any more; but with limits that are off, all do first.</summary>
    public void Hold()
    {
        Pass();
        _isHeld = true;
    }

    /// <summary>Lets them begin again.</summary>
    public void Release()
    {
        _isHeld = false;
        if (Pass() is var wait and > 0)
            Sleep(wait);
    }

    /// <summary>Takes out what this is true of.</summary>
    public void Remove(Predicate<IGatedRequest> which, Action<IGatedRequest> removed)
    {
        foreach (var line in (ReadOnlySpan<Queue<IGatedRequest>>)[_reads, _writes])
        {
            for (var i = line.Count; i > 0; i--)
            {
                var request = line.Dequeue();
                if (which(request))
                    removed(request);
                else
                    line.Enqueue(request);
            }
        }
    }

    private long Now() => clock is null ? (long)(Stopwatch.GetTimestamp() * (1e9 / Stopwatch.Frequency)) : clock();

    /// <returns>nanoseconds until the next may begin; 0 if there is none</returns>
    private long Pass()
    {
        if (_isHeld)
            return 0;
        var (read, write) = (Pass(_reads), Pass(_writes));
        return read == 0 ? write : write == 0 ? read : Math.Min(read, write);
    }

    private long Pass(Queue<IGatedRequest> line)
    {
        while (line.TryPeek(out var next))
        {
            if (limits.TryPass(next.LimitedAs, next.LimitedBytes, Now()) is var wait and > 0)
                return wait;
            line.Dequeue();
            begin(next);
        }

        return 0;
    }

    private void Sleep(long nanoseconds)
    {
        if (_isAsleep)
            return;
        _isAsleep = true;
        SleepAsync(nanoseconds).Forget();
    }

    private async LoopTask<int> SleepAsync(long nanoseconds)
    {
        do
        {
            await loop.DelayAsync((int)Math.Clamp((nanoseconds + 999_999) / 1_000_000, 1, LongestSleepMilliseconds));
            nanoseconds = Pass();
        }
        while (nanoseconds > 0);
        _isAsleep = false;
        return 0;
    }
}
