using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli;

/// <summary><c>status --watch</c> on a terminal: the text of <c>status</c>, drawn again and again.</summary>
/// <param name="registry">where the devices are</param>
/// <param name="name">which one; null for all</param>
/// <param name="interval">how often</param>
internal sealed class StatusWatch(DeviceRegistry registry, string? name, TimeSpan interval) : LiveView(interval)
{
    private const int LinesAround = 3;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private readonly DevicePoll _poll = new(registry);
    private readonly Style _style = Style.For(1);
    private string[] _seen = [];

    protected override Action Look()
    {
        DeviceEntry[] entries = [.. registry.List().Where(entry => name is null || entry.Record.Name == name)];
        var text = string.Join('\n', _poll.Ask(entries, s_patience).Select(answer => StatusText.Format(answer.Status, _style)));
        if (entries.Length == 0)
            text = name is null ? "no devices" : $"{name} is not attached";
        return () => _seen = text.TrimEnd('\n').Split('\n');
    }

    protected override IReadOnlyList<string> Lines(int columns, int rows)
    {
        var room = Math.Max(1, rows - LinesAround);
        Scrolled = Math.Clamp(Scrolled, 0, Math.Max(0, _seen.Length - room));
        var now = DateTime.Now.ToString("HH:mm:ss", CultureInfo.InvariantCulture);
        var every = Interval.TotalSeconds.ToString("0.##", CultureInfo.InvariantCulture);
        string[] shown = [.. _seen.Skip(Scrolled).Take(room)];
        return
        [
            $"qcow2blk status - {now}, every {every} s{(IsPaused ? ", " + _style.Doubtful("paused") : "")}", "", .. shown,
            .. Enumerable.Repeat("", room - shown.Length), "q quit  space pause  arrows scroll",
        ];
    }

    protected override void On(Key key) => Scrolls(key, _seen.Length, Math.Max(1, Screen.Size.Rows - LinesAround));
}
