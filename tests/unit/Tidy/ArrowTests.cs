using System;
using System.Collections.Generic;
using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>Who may call whom: the table of rooms in docs/architecture.md is what the code does.</summary>
public sealed class ArrowTests
{
    private static readonly IReadOnlyList<Reference> s_references = Reference.All();

    [Fact]
    public void No_room_uses_one_below_it_in_the_table()
    {
        var upward = s_references.Where(reference => Rooms.HeightOf(reference.To) > Rooms.HeightOf(reference.From))
            .Select(reference => $"{reference.Place}: {reference.From} uses {reference.Name} of {reference.To}");
        Assert.True(!upward.Any(), string.Join(Environment.NewLine, upward));
    }

    [Fact]
    public void Table_names_every_room_that_a_room_uses_and_no_other()
    {
        var real = s_references.GroupBy(reference => reference.From)
            .ToDictionary(group => group.Key, group => group.Select(reference => reference.To).ToHashSet());
        var wrong = new List<string>();
        foreach (var room in Rooms.Table)
        {
            var used = real.GetValueOrDefault(room.Folder) ?? [];
            wrong.AddRange(used.Except(room.Uses)
                .Select(other => $"{room.Folder} uses {other}, such as in {First(room.Folder, other)}: the table does not say so"));
            wrong.AddRange(room.Uses.Except(used).Select(other => $"{room.Folder} does not use {other}: the table says so"));
        }

        Assert.True(wrong.Count == 0, string.Join(Environment.NewLine, wrong));
    }

    [Fact]
    public void Every_source_file_is_in_a_room()
    {
        var outside = SourceTree.Shipped()
            .Where(file => Rooms.Of(file) is null && file != "libqcow2/AssemblyInfo.cs");
        Assert.True(!outside.Any(), string.Join(Environment.NewLine, outside));
    }

    /// <summary>The test itself notices a reference upwards, whatever stands in the way of a search by text.</summary>
    [Theory]
    [InlineData("using D = Qcow2Blk.Devices.DeviceName; namespace Qcow2Blk.Format; class C { object M() => typeof(D); }")]
    [InlineData("namespace Qcow2Blk.Format; class C { void M() => Qcow2Blk.Devices.DeviceName.Check(\"x\"); }")]
    [InlineData("using static Qcow2Blk.Devices.DeviceName; namespace Qcow2Blk.Format; class C { void M() => Check(\"x\"); }")]
    public void Reference_upwards_is_seen(string code)
    {
        const string lower = "libqcow2/Format/C.cs", higher = "libqcow2/Devices/DeviceName.cs";
        var references = Reference.All([lower, higher], file => file == lower ? code
            : "namespace Qcow2Blk.Devices; public static class DeviceName { public static void Check(string name) { } }");
        Assert.Contains(references, reference => reference is { From: "Format", To: "Devices" });
    }

    private static string First(string from, string to)
    {
        var found = s_references.First(reference => reference.From == from && reference.To == to);
        return $"{found.Place} ({found.Name})";
    }
}
