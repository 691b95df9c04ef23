using System;

namespace Qcow2Blk.Logging;

/// <summary>A log whose errors somebody else hears too.</summary>
/// <param name="log">where all lines go</param>
/// <param name="heard">gets the lines of level error; on any thread, and must not wait</param>
internal sealed class HeardLog(ILog log, Action<string> heard) : ILog
{
    public LogLevel Level => log.Level;

    public void Progress(string what, double fraction) => log.Progress(what, fraction);

    public void Write(LogLevel level, string message)
    {
        log.Write(level, message);
        if (level == LogLevel.Error)
            heard(message);
    }

    public void Write(LogLevel level, LogEvent what, string message)
    {
        log.Write(level, what, message);
        if (level == LogLevel.Error)
            heard(message);
    }
}
