using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Qcow2Blk.Cli.Terminal;

namespace Qcow2Blk.Cli.Top;

/// <summary><c>top</c> on a terminal.</summary>
/// <param name="rates">what is shown</param>
/// <param name="interval">how often</param>
/// <param name="column">what it is sorted by at first</param>
/// <param name="count">how many times to look; null: until the user quits</param>
internal sealed class TopView(DeviceRates rates, TimeSpan interval, TopColumn column, int? count) : LiveView(interval)
{
    private const int LinesAround = 4;
    private static readonly TimeSpan s_most = TimeSpan.FromMinutes(1), s_least = TimeSpan.FromSeconds(0.25);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private readonly Style _style = Style.For(1);
    private IReadOnlyList<DeviceRate>? _seen;
    private TopColumn _column = column;
    private int? _left = count;
    private bool _reversed;
    private bool _helps;

    protected override Action Look()
    {
        // Those that answer are not shown later than one interval after they did.
        var seen = rates.Look(Interval < s_patience ? Interval : s_patience);
        return () =>
        {
            // The first look has nothing to compare with.
            IsDone |= _seen is not null && _left is { } left && (_left = left - 1) < 0;
            _seen = seen;
        };
    }

    protected override IReadOnlyList<string> Lines(int columns, int rows)
    {
        var page = new TopPage(columns, _style);
        var seen = _seen ?? [];
        var now = DateTime.Now.ToString("HH:mm:ss", CultureInfo.InvariantCulture);
        var every = Interval.TotalSeconds.ToString("0.##", CultureInfo.InvariantCulture);
        var title = $"qcow2blk top - {now}, every {every} s{(IsPaused ? ", " + _style.Doubtful("paused") : "")}";
        if (_helps)
            return [title, .. Help(seen)];
        string[] table = [.. page.Lines([.. _column.Sorted(seen, _reversed)], _column)];
        var room = Math.Max(1, rows - LinesAround);
        Scrolled = Math.Clamp(Scrolled, 0, Math.Max(0, table.Length - 1 - room));
        string[] devices = [.. table.Skip(1 + Scrolled).Take(room)];
        return
        [
            title, TextWidth.Cut(page.Summary(seen), int.MaxValue), table[0], .. devices, .. Enumerable.Repeat("", room - devices.Length),
            TextWidth.Cut("q quit  < > sort  R reverse  space pause  + - interval  ? help", columns),
        ];
    }

    protected override void On(Key key)
    {
        if (_helps)
        {
            _helps = false;
            return;
        }

        if (Scrolls(key, (_seen ?? []).Count, Math.Max(1, Screen.Size.Rows - LinesAround)))
            return;
        switch (key)
        {
            case { Name: KeyName.Left } or { Character: '<' }:
                SortBy(-1);
                break;
            case { Name: KeyName.Right } or { Character: '>' }:
                SortBy(1);
                break;
            case { Character: 'R' }:
                _reversed = !_reversed;
                break;
            case { Character: '+' }:
                Interval = Interval * 2 > s_most ? s_most : Interval * 2;
                break;
            case { Character: '-' }:
                Interval = Interval / 2 < s_least ? s_least : Interval / 2;
                LookNow();
                break;
            case { Character: '?' }:
                _helps = true;
                break;
            default:
                _column = TopColumn.All.FirstOrDefault(column => column.Key == key.Character) ?? _column;
                break;
        }
    }

    private void SortBy(int step)
    {
        var at = TopColumn.All.ToList().IndexOf(_column) + step;
        _column = TopColumn.All[Math.Clamp(at, 0, TopColumn.All.Count - 1)];
    }

    private static IEnumerable<string> Help(IReadOnlyList<DeviceRate> seen) =>
    [
        "q, Ctrl-C    quit",
        "< >          sort by the column to the left or right",
        "R            reverse the order",
        "space        pause, and continue",
        "+ -          double or halve the interval",
        "Enter        look now",
        "arrows       scroll",
        "",
        .. TopColumn.For(seen).Select(column => $"{column.Key}            sort by {column.Title,-8} {column.Meaning}"),
        "",
        "press any key",
    ];
}
