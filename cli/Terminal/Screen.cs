using System;
using System.Collections.Generic;
using System.Text;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;
using Tmds.Linux;

namespace Qcow2Blk.Cli.Terminal;

/// <summary>
/// The terminal as one page: what was on it comes back at the end, with all its settings. Keys are read as they are pressed,
/// Ctrl-C too.
/// </summary>
internal sealed class Screen : IDisposable
{
    private const int Input = 0, Page = 1;

    // The other page, no cursor, and lines that are too long are cut, not wrapped.
    private const string Enter = "\e[?1049h\e[?25l\e[?7l", Leave = "\e[?7h\e[?25h\e[?1049l";

    private readonly termios _before;
    private bool _isEntered;

    private Screen(termios before) => _before = before;

    /// <param name="otherwise">what to do without a terminal</param>
    /// <exception cref="OutcomeException">there is no terminal, or none that could show a page</exception>
    internal static Screen Open(string otherwise)
    {
        var why = !Terminals.IsTerminal(Page) ? "standard output is not a terminal"
            : Terminals.Settings(Input, out var settings) < 0 ? "standard input is not a terminal"
            : Environment.GetEnvironmentVariable("TERM") is null or "" or "dumb" ? "TERM names a terminal that only prints lines"
            : null;
        if (why is not null)
            throw new OutcomeException(OutcomeKind.Invalid, "this needs a terminal", why, otherwise);
        _ = Terminals.Settings(Input, out settings);
        var screen = new Screen(settings);
        screen.Begin();
        return screen;
    }

    internal static (int Columns, int Rows) Size => Terminals.Size(Page, out var columns, out var rows) ? (columns, rows) : (80, 24);

    /// <summary>Takes the terminal, also after somebody else had it.</summary>
    internal void Begin()
    {
        _ = Terminals.Set(Input, Terminals.Raw(_before));
        _ = Write(Enter);
        _isEntered = true;
    }

    /// <summary>Gives it back as it was.</summary>
    internal void End()
    {
        if (!_isEntered)
            return;
        _isEntered = false;
        _ = Write(Leave);
        _ = Terminals.Set(Input, _before);
    }

    /// <summary>
    /// Shows these lines, and nothing else. At once, so that nothing flickers. What stood in a line is erased before the new text:
    /// after one that reaches the edge, that would take its last character.
    /// </summary>
    /// <returns>false if the terminal has gone</returns>
    internal static bool Draw(IReadOnlyList<string> lines)
    {
        var page = new StringBuilder("\e[H");
        for (var row = 0; row < lines.Count; row++)
            page.Append("\e[K").Append(lines[row]).Append("\e[0m").Append(row < lines.Count - 1 ? "\r\n" : "");
        // Below the last line, not in it.
        return Write(page.Append(lines.Count < Size.Rows ? "\r\n\e[J" : "").ToString());
    }

    public void Dispose() => End();

    private static bool Write(string text) => Unistd.WriteAll(Page, Encoding.UTF8.GetBytes(text)) == 0;
}
