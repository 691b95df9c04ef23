using System;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Embedding;

/// <summary>Where one line of the log goes.</summary>
internal delegate void LogLine(LogLevel level, string message);

/// <summary>The log of the program that we live in: nothing is said to anybody until it wants to hear it.</summary>
internal sealed class HostLog : ILog
{
    private readonly Lock _one = new();
    private LogLine? _hear;
    private volatile int _level = -1;

    public static HostLog Instance { get; } = new();

    /// <summary>-1, which is below all levels, while nobody listens.</summary>
    public LogLevel Level => (LogLevel)_level;

    /// <summary>Has another one hear from now on; the one before is not running when this returns.</summary>
    /// <param name="hear">null for nobody</param>
    /// <param name="level">lines above it are left out</param>
    /// <returns>0, or -EDEADLK from inside a callback</returns>
    public int Set(LogLine? hear, LogLevel level)
    {
        if (HostCallback.IsRunning)
            return -Errno.EDEADLK;
        lock (_one)
        {
            _hear = hear;
            _level = hear is null ? -1 : (int)level;
        }

        return 0;
    }

    public void Write(LogLevel level, string message)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (level > Level)
            return;
        lock (_one)
        {
            if (_hear is null || level > Level)
                return;
            HostCallback.Enter();
            try
            {
                _hear(level, Printable.Escape(message));
            }
            finally
            {
                HostCallback.Leave();
            }
        }
    }
}
