using System;
using System.Globalization;
using System.IO;
using System.Text;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Cli;

/// <summary>
/// A line on standard error that tells how far work is: on a terminal only, once it has taken a second, and gone at the end.
/// </summary>
/// <param name="subject">what is worked on: an image</param>
internal sealed class ProgressBar(string subject) : IDisposable
{
    private const int Error = 2, BarWidth = 20, ShowAfterMilliseconds = 1000, LongestName = 40;

    private readonly long _started = Environment.TickCount64;
    private string _what = "";
    private long _since;
    private bool _isShown;

    /// <returns>null where nobody would see it</returns>
    internal static ProgressBar? For(string image) =>
        Terminals.IsTerminal(Error) && Environment.GetEnvironmentVariable("TERM") is { Length: > 0 } and not "dumb"
            ? new ProgressBar(Path.GetFileName(image)) : null;

    internal void Show(string what, double fraction)
    {
        var now = Environment.TickCount64;
        if (what != _what)
            (_what, _since) = (what, now);
        if (now - _started < ShowAfterMilliseconds)
            return;
        _isShown = true;
        var columns = Terminals.Size(Error, out var known, out _) ? known : 80;
        // The cursor stays at the beginning: a message of the server that comes now stands there, not behind the bar.
        Write("\e[?7l\r" + Line(fraction, now - _since, columns) + "\e[K\r\e[?7h");
    }

    public void Dispose()
    {
        if (_isShown)
            Write("\r\e[K");
    }

    internal string Line(double fraction, long milliseconds, int columns)
    {
        fraction = Math.Clamp(fraction, 0, 1);
        var done = (int)(fraction * BarWidth);
        var percent = ((int)(fraction * 100)).ToString(CultureInfo.InvariantCulture);
        var name = TextWidth.CutFront(Printable.Escape(subject), Math.Min(LongestName, Math.Max(8, columns - 50)));
        return $"{_what} {name}  [{new string('#', done)}{new string('.', BarWidth - done)}] {percent,3}%{Left(fraction, milliseconds)}";
    }

    /// <summary>Guessed from what was done; not from so little that the guess would jump.</summary>
    private static string Left(double fraction, long milliseconds)
    {
        if (fraction < 0.05 || milliseconds < ShowAfterMilliseconds)
            return "";
        var seconds = (long)Math.Ceiling(milliseconds / 1000.0 * (1 - fraction) / fraction);
        return seconds < 60 ? $"  {seconds} s left" : $"  {seconds / 60}:{seconds % 60:00} left";
    }

    private static void Write(string text) => _ = Unistd.WriteAll(Error, Encoding.UTF8.GetBytes(text));
}
