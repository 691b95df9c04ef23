namespace Qcow2Blk.Logging;

/// <summary>How much a log line matters. The order is that of syslog(3), most important first.</summary>
public enum LogLevel
{
    Error,
    Warning,
    Info,
    Debug,
}

/// <summary>Where a server tells what happens. Safe from any thread; never throws; not for the I/O path.</summary>
internal interface ILog
{
    /// <summary>Lines above this level are dropped: ask before composing an expensive message.</summary>
    LogLevel Level { get; }

    /// <param name="level">how much it matters</param>
    /// <param name="message">one line in house style, without the program's name: lower case, no full stop</param>
    void Write(LogLevel level, string message);

    /// <summary>How far work is for which somebody may wait, said often. Only who asked for it hears that.</summary>
    /// <param name="what">what is done, as in "repairing"</param>
    /// <param name="fraction">0 to 1</param>
    void Progress(string what, double fraction)
    {
    }

    /// <summary>The same of an event that programs look for, where the log can say which it is.</summary>
    void Write(LogLevel level, LogEvent what, string message) => Write(level, message);
}

/// <summary>The four levels as calls.</summary>
internal static class LogExtensions
{
    public static void Error(this ILog log, string message) => log.Write(LogLevel.Error, message);

    public static void Warning(this ILog log, string message) => log.Write(LogLevel.Warning, message);

    public static void Info(this ILog log, string message) => log.Write(LogLevel.Info, message);

    public static void Debug(this ILog log, string message) => log.Write(LogLevel.Debug, message);
}
