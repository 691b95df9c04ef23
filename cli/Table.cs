using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Format;

namespace Qcow2Blk.Cli;

/// <summary>Columns of text, as wide as they need to be; the last one is not padded.</summary>
internal sealed class Table(params string[] head)
{
    private readonly List<string[]> _rows = [head];

    /// <summary>Colours a cell that is as wide as its column: which column, the cell, and its text; null: none is coloured.</summary>
    internal System.Func<int, string, string, string>? Paint { get; init; }

    internal void Add(params string[] cells) => _rows.Add([.. cells.Select(Printable.Escape)]);

    public override string ToString()
    {
        int[] widths = [.. Enumerable.Range(0, _rows[0].Length).Select(column => _rows.Max(row => TextWidth.Of(row[column])))];
        var text = new StringBuilder();
        foreach (var row in _rows)
        {
            for (var column = 0; column < row.Length - 1; column++)
            {
                var cell = TextWidth.PadRight(row[column], widths[column]);
                text.Append(row == head || Paint is null ? cell : Paint(column, cell, row[column])).Append("  ");
            }

            text.Append(row[^1]).Append('\n');
        }

        return text.ToString();
    }
}
