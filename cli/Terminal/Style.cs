using System;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Cli.Terminal;

/// <summary>
/// Colours, where they are wanted: on a terminal that has them, unless NO_COLOR is set; CLICOLOR_FORCE has them anywhere.
/// </summary>
internal sealed class Style(bool hasColours)
{
    private const string Red = "\e[31m", Green = "\e[32m", Yellow = "\e[33m", Default = "\e[0m";

    /// <param name="fd">where the text goes</param>
    internal static Style For(int fd) => new(Wanted(Terminals.IsTerminal(fd), Environment.GetEnvironmentVariable));

    internal static bool Wanted(bool isTerminal, Func<string, string?> environment)
    {
        if (environment("NO_COLOR") is { Length: > 0 })
            return false;
        if (environment("CLICOLOR_FORCE") is { Length: > 0 } forced && forced != "0")
            return true;
        return isTerminal && environment("TERM") is { Length: > 0 } and not "dumb";
    }

    internal string Good(string text) => In(Green, text);

    internal string Doubtful(string text) => In(Yellow, text);

    internal string Bad(string text) => In(Red, text);

    /// <summary>The state of a device: red where somebody has to do something, yellow where it does not serve now.</summary>
    /// <param name="text">what is coloured</param>
    /// <param name="state">the state that it tells</param>
    internal string State(string text, string state) => state switch
    {
        "running" => Good(text),
        "failed" or "dead" or "silent" => Bad(text),
        _ => Doubtful(text),
    };

    private string In(string colour, string text) => hasColours && text.Length > 0 ? colour + text + Default : text;
}
