using System;

namespace Qcow2Blk.Logging;

/// <summary>
/// A log of somebody who waits and wants to hear how far the work is. Until the end of the waiting: later work has no listener.
/// </summary>
/// <param name="log">where all lines go</param>
/// <param name="report">
/// hears what is done and the fraction that is done of it, a few times a second; on any thread, and must not wait
/// </param>
internal sealed class ProgressLog(ILog log, Action<string, double> report) : ILog
{
    private const int Milliseconds = 200;

    private readonly System.Threading.Lock _lock = new();
    private long _last;
    private bool _ended;

    public LogLevel Level => log.Level;

    public void Write(LogLevel level, string message) => log.Write(level, message);

    public void Write(LogLevel level, LogEvent what, string message) => log.Write(level, what, message);

    public void Progress(string what, double fraction)
    {
        var now = Environment.TickCount64;
        lock (_lock)
        {
            if (_ended || now - _last < Milliseconds)
                return;
            _last = now;
            report(what, fraction);
        }
    }

    /// <summary>Nobody waits any more. When this returns nothing is being reported.</summary>
    public void End()
    {
        lock (_lock)
            _ended = true;
    }
}
