using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using Qcow2Blk.Cli.Terminal;

namespace Qcow2Blk.Cli.Top;

/// <summary>The table of <c>top</c> on a page of a given width.</summary>
/// <param name="columns">of the terminal</param>
/// <param name="style">colours, if they are wanted</param>
internal sealed class TopPage(int columns, Style style)
{
    private const int Gap = 2, NarrowestImage = 16, WidestName = 24;
    private const string Reverse = "\e[7m", NotReverse = "\e[27m", Bold = "\e[1m", NotBold = "\e[22m";
    private const string Underlined = "\e[4m", NotUnderlined = "\e[24m";

    // What goes first where there is no room for all, and how wide a column is at least, so that it does not jump about.
    private static readonly string[] s_dispensable =
        ["waiting", "base-hits", "hits", "fetch", "average", "in-flight", "p99", "cached", "written-bytes", "read-bytes"];

    private static readonly Dictionary<string, int> s_least = new()
    {
        ["name"] = 8,
        ["state"] = 9,
        ["reads"] = 7,
        ["writes"] = 7,
        ["read-bytes"] = 8,
        ["written-bytes"] = 8,
        ["average"] = 7,
        ["p99"] = 7,
        ["hits"] = 4,
        ["fetch"] = 7,
    };

    /// <summary>The head of the table, then a line for each device.</summary>
    internal IReadOnlyList<string> Lines(IReadOnlyList<DeviceRate> rates, TopColumn sorted)
    {
        var shown = Choose(rates, out var widths);
        var lines = new List<string> { Head(shown, widths, sorted) };
        lines.AddRange(rates.Select(rate => Line(shown, widths, rate)));
        return lines;
    }

    /// <summary>What all devices do together.</summary>
    internal string Summary(IReadOnlyList<DeviceRate> rates)
    {
        var states = rates.GroupBy(rate => rate.Now.State).OrderBy(group => group.Key == "running" ? 0 : 1).ThenBy(group => group.Key)
            .Select(group => style.State($"{group.Count()} {group.Key}", group.Key));
        var text = new StringBuilder(rates.Count == 0 ? "no devices" : string.Join(", ", states));
        if (rates.Any(rate => rate.Reads is not null))
        {
            text.Append(CultureInfo.InvariantCulture, $"; {Sum(rate => rate.Reads):0} reads/s, {Sum(rate => rate.Writes):0} writes/s");
            text.Append("; ").Append(Quantity.Bytes((long)Sum(rate => rate.BytesRead))).Append("/s read, ")
                .Append(Quantity.Bytes((long)Sum(rate => rate.BytesWritten))).Append("/s written");
        }

        return text.ToString();

        double Sum(Func<DeviceRate, double?> value) => rates.Sum(rate => value(rate) ?? 0);
    }

    private List<TopColumn> Choose(IReadOnlyList<DeviceRate> rates, out Dictionary<TopColumn, int> widths)
    {
        var shown = TopColumn.For(rates).ToList();
        var needed = shown.ToDictionary(column => column, column => Needed(column, rates));
        foreach (var name in s_dispensable)
        {
            if (RoomForImage() >= NarrowestImage)
                break;
            shown.RemoveAll(column => column.Name == name);
        }

        needed[shown[^1]] = Math.Max(0, RoomForImage());
        widths = needed;
        return shown;

        int RoomForImage() => columns - shown.SkipLast(1).Sum(column => needed[column] + Gap);
    }

    private static int Needed(TopColumn column, IReadOnlyList<DeviceRate> rates)
    {
        var widest = rates.Select(rate => TextWidth.Of(column.Text(rate))).Append(column.Title.Length)
            .Append(s_least.GetValueOrDefault(column.Name)).Max();
        return column.Name == "name" ? Math.Min(widest, WidestName) : widest;
    }

    /// <summary>The column that the table is sorted by is the one that stands out.</summary>
    private static string Head(List<TopColumn> shown, Dictionary<TopColumn, int> widths, TopColumn sorted)
    {
        var cells = shown.Select(column =>
        {
            var cell = Padded(column, TextWidth.Cut(column.Title, widths[column]), widths[column]);
            return column == sorted ? NotReverse + Bold + Underlined + cell + NotUnderlined + NotBold + Reverse : cell;
        });
        return Reverse + string.Join("  ", cells);
    }

    private string Line(List<TopColumn> shown, Dictionary<TopColumn, int> widths, DeviceRate rate) =>
        string.Join("  ", shown.Select(column => Cell(column, widths[column], rate))).TrimEnd();

    private string Cell(TopColumn column, int width, DeviceRate rate)
    {
        var text = column.Name == "image" ? TextWidth.CutFront(column.Text(rate), width) : TextWidth.Cut(column.Text(rate), width);
        var cell = Padded(column, text, width);
        return column.Name switch
        {
            "state" => style.State(cell, rate.Now.State),
            "waiting" when rate.Now.Waiting > 0 => style.Doubtful(cell),
            _ => cell,
        };
    }

    private static string Padded(TopColumn column, string text, int width) =>
        column.IsNumber ? TextWidth.PadLeft(text, width) : TextWidth.PadRight(text, width);
}
