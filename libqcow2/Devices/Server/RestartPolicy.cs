using System;
using System.Collections.Generic;

namespace Qcow2Blk.Devices.Server;

/// <summary>How often a server that died is started again: at once, then more slowly, and not for ever.</summary>
internal sealed class RestartPolicy
{
    /// <summary>A server that dies so often within <see cref="Window"/> will not live the next time either.</summary>
    public const int MaxRestarts = 5;

    public static TimeSpan Window { get; } = TimeSpan.FromSeconds(60);

    private readonly Queue<TimeSpan> _restarts = new();

    /// <param name="now">of a clock that only goes forward</param>
    /// <returns>how long to wait before the next start; null: no more</returns>
    public TimeSpan? Next(TimeSpan now)
    {
        while (_restarts.TryPeek(out var oldest) && now - oldest > Window)
            _restarts.Dequeue();
        if (_restarts.Count >= MaxRestarts)
            return null;
        // What refuses now may do in a moment: disk writes of the dead server end, and with them its lock.
        var delay = TimeSpan.FromSeconds(_restarts.Count);
        _restarts.Enqueue(now);
        return delay;
    }
}
