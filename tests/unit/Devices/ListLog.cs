using System.Collections.Generic;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Keeps what is logged.</summary>
internal sealed class ListLog : ILog
{
    private readonly List<string> _lines = [];

    /// <summary>A copy: lines may come from any thread.</summary>
    public IReadOnlyList<string> Lines
    {
        get
        {
            lock (_lines)
                return [.. _lines];
        }
    }

    public LogLevel Level => LogLevel.Debug;

    public void Write(LogLevel level, string message)
    {
        lock (_lines)
            _lines.Add(message);
    }
}
