using System;
using System.Collections.Generic;

namespace Qcow2Blk.Logging;

/// <summary>The levels as words, in the order of the enum.</summary>
public static class LogLevels
{
    public static IReadOnlyList<string> Words { get; } = ["error", "warning", "info", "debug"];

    public static string Of(LogLevel level) => Words[(int)level];

    /// <exception cref="FormatException">it is none of them</exception>
    public static LogLevel Parse(string word)
    {
        for (var level = LogLevel.Error; level <= LogLevel.Debug; level++)
        {
            if (Of(level) == word)
                return level;
        }

        throw new FormatException($"\"{word}\" is none of {string.Join(", ", Words)}");
    }
}
