using System.Collections.Generic;
using System.Diagnostics;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Uring;

/// <summary>Delays: few at a time, so a list searched on each turn that has any.</summary>
internal sealed partial class EventLoop
{
    private const long IdleNanoseconds = 100_000_000;

    private readonly List<(long Due, ManualSource<int> Source)> _timers = [];
    private long _lastDelivery;
    private bool _idleReported;

    public override LoopTask<int> DelayAsync(int milliseconds)
    {
        var source = ManualSource<int>.Rent();
        _timers.Add((Stopwatch.GetTimestamp() + (milliseconds * Stopwatch.Frequency / 1000), source));
        return source.Task;
    }

    /// <summary>Nanoseconds until something is due; -1 for never.</summary>
    private long NextTimeout()
    {
        // One wake-up after work ended lets the loop give memory back; after that it sleeps for good.
        var nearest = _idleReported ? -1 : IdleNanoseconds;
        if (_timers.Count == 0)
            return nearest;
        var now = Stopwatch.GetTimestamp();
        foreach (var (due, _) in _timers)
        {
            var left = due <= now ? 0 : LoopTime.ToNanoseconds(due - now);
            if (nearest < 0 || left < nearest)
                nearest = left;
        }

        return nearest;
    }

    private void RunTimers(bool idle)
    {
        if (!idle)
        {
            _idleReported = false;
            _lastDelivery = Stopwatch.GetTimestamp();
        }
        else if (!_idleReported && Stopwatch.GetElapsedTime(_lastDelivery).Ticks * 100 >= IdleNanoseconds)
        {
            _idleReported = true;
            Buffers.Trim();
            Idle?.Invoke();
        }

        if (_timers.Count == 0)
            return;
        var now = Stopwatch.GetTimestamp();
        for (var i = 0; i < _timers.Count; i++)
        {
            if (_timers[i].Due > now)
                continue;
            var source = _timers[i].Source;
            _timers.RemoveAt(i--);
            source.SetResult(0);
        }
    }
}
