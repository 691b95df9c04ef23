using Qcow2Blk.Format;

namespace Qcow2Blk.Logging;

internal static class LogLevels
{
    public static EnumWords<LogLevel> Words { get; } = new(
        (LogLevel.Error, "error"), (LogLevel.Warning, "warning"), (LogLevel.Info, "info"), (LogLevel.Debug, "debug"));
}
