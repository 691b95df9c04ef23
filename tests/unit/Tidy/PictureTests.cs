using System;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using Xunit;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>The pictures of docs/architecture.md show the rooms that exist.</summary>
public sealed partial class PictureTests
{
    /// <summary>$QCOW2BLK_WRITE_DOCS draws it again.</summary>
    [Fact]
    public void Picture_of_rooms_is_drawn_from_their_table()
    {
        var drawn = RoomPicture.Draw(Rooms.Table);
        if (Environment.GetEnvironmentVariable("QCOW2BLK_WRITE_DOCS") is not null)
            File.WriteAllText(Path.Combine(SourceTree.Root, RoomPicture.File), drawn);
        Assert.True(drawn == SourceTree.Read(RoomPicture.File),
            $"{RoomPicture.File} is not what the table says: QCOW2BLK_WRITE_DOCS=1 tests/run.sh unit PictureTests draws it again");
    }

    [Fact]
    public void Room_without_a_floor_is_not_left_out() =>
        Assert.Throws<FormatException>(() => RoomPicture.Draw([.. Rooms.Table, new Room("Attic/Left", [])]));

    [Fact]
    public void Rooms_on_a_requests_way_exist()
    {
        var named = RoomText().Matches(SourceTree.Read("docs/images/request.svg")).Select(match => match.Groups["name"].Value).ToArray();
        Assert.Contains("Image", named);
        Assert.Empty(named.Except(Rooms.Table.Select(room => room.Folder)));
    }

    [GeneratedRegex("""<text class="room"[^>]*>(?<name>[^<]+)<""")]
    private static partial Regex RoomText();
}
