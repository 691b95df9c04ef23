using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>docs/images/rooms.svg: the table of rooms as a picture, the highest at the top.</summary>
internal static class RoomPicture
{
    public const string File = "docs/images/rooms.svg";

    private const int Width = 960, Left = 212, Right = 16, Gap = 8, BoxHeight = 26, Letter = 8;

    /// <summary>The floors, from the top, and the folders that are on each. A room is on the floor of the folder that it lies in.</summary>
    private static readonly (string Title, string What, string[] Folders)[] s_floors =
    [
        ("ways in", "a command, a C library", ["cli", "abi"]),
        ("in a program", "images and devices by handle", ["Embedding"]),
        ("a device", "started, found, controlled, ended", ["Devices"]),
        ("exports", "requests come in, replies go out", ["Exports"]),
        ("bases in stores", "fetched, verified, kept", ["Remote"]),
        ("the image", "maps, allocates, commits", ["Image", "Inspect", "Creation"]),
        ("files", "read, write, sync, punch, lock, encrypt", ["Storage", "Crypto"]),
        ("loops", "rings, waiting, memory", ["Uring", "Scheduling", "Buffers"]),
        ("ground", "the kernel, the format, the log", ["Logging", "Protocol", "Format", "Interop"]),
    ];

    /// <summary>The text of the file.</summary>
    /// <exception cref="FormatException">a room is on no floor</exception>
    public static string Draw(IReadOnlyList<Room> rooms)
    {
        if (rooms.FirstOrDefault(room => !s_floors.Any(floor => floor.Folders.Contains(Top(room)))) is { } lost)
            throw new FormatException($"{lost.Folder} is on no floor of the picture: add its folder in RoomPicture.cs");
        var body = new StringBuilder();
        var y = Gap;
        foreach ((var title, var what, var folders) in s_floors)
        {
            // The table has the lowest first.
            var names = rooms.Where(room => folders.Contains(Top(room))).Select(room => room.Folder).Reverse();
            y = DrawFloor(body, y, title, what, names) + Gap;
        }

        return Invariant($"""
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Width} {y}" width="{Width}" height="{y}" font-family="sans-serif">
            <title>The rooms of qcow2blk: each uses only what is on its floor or below</title>
            <!-- drawn by tests/unit/Tidy/RoomPicture.cs from the table in docs/architecture.md -->
            {Style}
            {body.ToString().TrimEnd()}
            </svg>

            """);
    }

    /// <summary>Colours of pages that are light or dark; pictures in pages know which by themselves.</summary>
    private const string Style = """
        <style>
        .floor{fill:#8881;stroke:#8886}.box{fill:#2f6fb022;stroke:#2f6fb0}.title{fill:#1f2328;font-size:14px;font-weight:bold}
        .what{fill:#59636e;font-size:11px}.room{fill:#1f2328;font-size:13px;text-anchor:middle}
        @media (prefers-color-scheme:dark){.box{stroke:#8fb8de}.title,.room{fill:#f0f6fc}.what{fill:#9198a1}}
        </style>
        """;

    private static int DrawFloor(StringBuilder body, int top, string title, string what, IEnumerable<string> names)
    {
        var boxes = new StringBuilder();
        int x = Left, y = top + Gap;
        foreach (var name in names)
        {
            var width = (name.Length * Letter) + 20;
            if (x + width > Width - Right)
                (x, y) = (Left, y + BoxHeight + Gap);
            boxes.AppendLine(CultureInfo.InvariantCulture,
                $"""<rect class="box" x="{x}" y="{y}" width="{width}" height="{BoxHeight}" rx="4"/>""");
            boxes.AppendLine(CultureInfo.InvariantCulture, $"""<text class="room" x="{x + (width / 2)}" y="{y + 18}">{name}</text>""");
            x += width + Gap;
        }

        var end = Math.Max(y + BoxHeight + Gap, top + 46);
        body.AppendLine(CultureInfo.InvariantCulture,
            $"""<rect class="floor" x="{Gap}" y="{top}" width="{Width - (2 * Gap)}" height="{end - top}" rx="6"/>""");
        body.AppendLine(CultureInfo.InvariantCulture, $"""<text class="title" x="18" y="{top + 19}">{title}</text>""");
        body.AppendLine(CultureInfo.InvariantCulture, $"""<text class="what" x="18" y="{top + 35}">{what}</text>""");
        body.Append(boxes);
        return end;
    }

    private static string Top(Room room) => room.Folder.Split('/')[0];

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
