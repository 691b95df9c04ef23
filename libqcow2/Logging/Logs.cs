using System;
using System.Text;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Logging;

/// <summary>Log lines on standard error: servers in the foreground, and until a server is ready.</summary>
internal sealed class StderrLog(LogLevel level) : ILog
{
    public LogLevel Level { get; } = level;

    public void Write(LogLevel level, string message)
    {
        if (level > Level)
            return;
        ArgumentNullException.ThrowIfNull(message);
        var prefix = level == LogLevel.Error ? "qcow2blk: " : $"qcow2blk: {LogLevels.Words.Of(level)}: ";
        // One write: lines of several threads do not mix.
        _ = Unistd.WriteAll(2, Encoding.UTF8.GetBytes(prefix + Printable.Escape(message) + "\n"));
    }
}

/// <summary>Log lines of a server in the background, tagged <c>qcow2blk-NAME</c>.</summary>
internal sealed class SyslogLog : ILog
{
    public SyslogLog(LogLevel level, string name)
    {
        Level = level;
        Syslog.Open("qcow2blk-" + name);
    }

    public LogLevel Level { get; }

    public void Write(LogLevel level, string message)
    {
        if (level > Level)
            return;
        ArgumentNullException.ThrowIfNull(message);
        Syslog.Write(Priority(level), Printable.Escape(message));
    }

    internal static int Priority(LogLevel level) => level switch
    {
        LogLevel.Error => Syslog.LOG_ERR,
        LogLevel.Warning => Syslog.LOG_WARNING,
        LogLevel.Info => Syslog.LOG_INFO,
        _ => Syslog.LOG_DEBUG,
    };
}

/// <summary>A log that can move: to standard error while somebody reads it, to syslog afterwards.</summary>
internal sealed class SwitchableLog(ILog first) : ILog
{
    private volatile ILog _current = first;

    public LogLevel Level => _current.Level;

    public void Write(LogLevel level, string message) => _current.Write(level, message);

    public void Write(LogLevel level, LogEvent what, string message) => _current.Write(level, what, message);

    public void SwitchTo(ILog next) => _current = next;
}
