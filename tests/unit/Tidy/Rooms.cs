using System;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>One row of the table of rooms in docs/architecture.md.</summary>
/// <param name="Folder">of libqcow2 or of the checkout: Exports/Nbd, cli</param>
/// <param name="Uses">the rooms that its code names</param>
internal sealed record Room(string Folder, IReadOnlyList<string> Uses);

/// <summary>The table of rooms: the lowest first, and each may use only rooms above it in the table.</summary>
internal static class Rooms
{
    public const string Page = "docs/architecture.md";

    private const string Heading = "## Rooms";

    public static IReadOnlyList<Room> Table { get; } = Parse(SourceTree.Read(Page));

    /// <summary>The room that a file is in: the longest folder of the table that it lies below.</summary>
    /// <param name="path">relative to the root of the checkout</param>
    /// <returns>null if the table has none</returns>
    public static string? Of(string path)
    {
        var inside = InLibrary(path);
        return Table.Select(room => room.Folder).Where(folder => inside.StartsWith(folder + "/", StringComparison.Ordinal))
            .MaxBy(folder => folder.Length);
    }

    public static int HeightOf(string folder) => Table.Select(room => room.Folder).ToList().IndexOf(folder);

    private static List<Room> Parse(string page)
    {
        var rooms = new List<Room>();
        var lines = page.Split('\n').SkipWhile(line => line != Heading).SkipWhile(line => !line.StartsWith('|'))
            .TakeWhile(line => line.StartsWith('|'));
        foreach (var line in lines.Skip(2))
        {
            var cells = line.Trim('|', ' ').Split('|').Select(cell => cell.Trim()).ToArray();
            if (cells.Length != 3)
                throw new FormatException($"{Page}: a row of the table of rooms has {cells.Length} cells, not 3: {line}");
            rooms.Add(
                new Room(InLibrary(cells[0].Trim('`')),
                    [.. cells[2].Split(',', StringSplitOptions.TrimEntries).Where(name => name != "nothing")]));
        }

        return rooms;
    }

    private static string InLibrary(string path)
    {
        const string library = "libqcow2/";
        return path.StartsWith(library, StringComparison.Ordinal) ? path[library.Length..] : path;
    }
}
