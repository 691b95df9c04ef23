using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Interop.Matrix;

/// <summary>
/// Combinations of everything that an image can be, read and written through a server that is suspended, killed and attached again.
/// $QCOW2BLK_MATRIX=all runs them all (make test-all), 17 or 17-40 that one or those.
/// </summary>
public sealed class GeneratedMatrixTests
{
    public static TheoryData<int, string> Cases()
    {
        var which = Environment.GetEnvironmentVariable("QCOW2BLK_MATRIX");
        int[] range = which is null or "all" ? [] : [.. which.Split('-').Select(number => int.Parse(number, CultureInfo.InvariantCulture))];
        var (first, last) = which == "all" ? (0, ImageCases.All.Count - 1) : range.Length > 0 ? (range[0], range[^1])
            : (0, ImageCases.SampleSize - 1);
        var data = new TheoryData<int, string>();
        for (var number = first; number <= last; number++)
            data.Add(number, ImageCases.All[number].Name);
        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Image_stays_sound_and_holds_what_was_written(int number, string name)
    {
        var image = ImageCases.All[number];
        Assert.Equal(name, image.Name);
        using var folder = new Folder();
        var disk = new MatrixImage(folder, image);
        var model = disk.Raw("model.raw");
        var below = disk.Below is null ? null : Folder.Hash(disk.Below);

        // What a killed server leaves is not in the way; what it had flushed is there, and nothing that was never written.
        var killed = Attach(folder, disk);
        Write(killed, model, number, 1);
        SuspendAndEdit(killed, disk, image);
        Write(killed, model, number, 2);
        KillWhileItWrites(folder, killed, disk, model, number);
        disk.AssertHolds(model);
        disk.FreeLeaks();

        var server = Attach(folder, disk);
        Write(server, model, number, 3);
        server.Suspend().Passed();
        disk.AssertClean();
        disk.AssertHolds(model);
        var snapshots = Snapshots(disk, "before");
        server.Resume().Passed();
        if (image["snapshots"] != "none")
        {
            folder.Qcow2Blk("snapshot", "create", server.Name, "live").Passed();
            disk.NoteSnapshot("live");
            snapshots.Add(Folder.Hash(model));
        }

        Write(server, model, number, 4);
        server.Detach();

        disk.AssertClean();
        disk.AssertHolds(model);
        Assert.Equal(snapshots, Snapshots(disk, "after"));
        disk.AssertBitmapsCover(model);
        if (below is not null)
            Assert.Equal(below, Folder.Hash(disk.Below!));
    }

    [Fact]
    public void Matrix_has_every_pair_that_can_be()
    {
        var random = new Random(1);
        var possible = Enumerable.Range(0, 20_000).SelectMany(_ => ImageCases.Pairs(ImageCases.Any(random))).ToHashSet();

        Assert.Empty(possible.Except(ImageCases.All.SelectMany(ImageCases.Pairs)));
        Assert.True(ImageCases.All.Count >= 300);
        Assert.Equal(ImageCases.All.Count, ImageCases.All.Select(image => image.Name).Distinct().Count());
    }

    /// <summary>What the engine cannot open yet is not a failure of the matrix; it says so itself.</summary>
    private static Server Attach(Folder folder, MatrixImage disk)
    {
        var probe = folder.Qcow2Blk(["attach", disk.Path, "--socket", folder.File("probe"), .. disk.AttachOptions, "--run", "true"]);
        Assert.SkipWhen(probe.Errors.Contains("not supported yet", StringComparison.Ordinal), probe.Errors);
        probe.Passed();
        return Server.Attach(folder, disk.Path, disk.AttachOptions);
    }

    private static void Write(Server server, string model, int number, int phase) =>
        Client.Python3("model_writes.py", server.Uri, model, $"{number * 10 + phase}", "5");

    /// <summary>The server dies with requests in progress: each sector is what it was, or what some request has made of it.</summary>
    private static void KillWhileItWrites(Folder folder, Server server, MatrixImage disk, string model, int number)
    {
        var states = folder.File("states");
        Client.Python3("killed_writes.py", "load", server.Uri, model, states, $"{number}", $"{server.Pid}");
        server.AwaitEnd();
        disk.AssertSound();
        Client.Python3("killed_writes.py", "verify", disk.Raw("killed.raw"), model, states);
    }

    /// <summary>qemu-img changes what it likes while the device waits.</summary>
    private static void SuspendAndEdit(Server server, MatrixImage disk, ImageCase image)
    {
        server.Suspend().Passed();
        disk.AssertClean();
        if (image["snapshots"] != "none")
            disk.TakeSnapshot("second");
        if (image["bitmaps"] != "none")
            disk.AddBitmap("suspended");
        server.Resume().Passed();
    }

    private static List<string> Snapshots(MatrixImage disk, string when) =>
        [.. disk.Snapshots.Select(name => Folder.Hash(disk.Raw($"{name}-{when}.raw", name)))];
}
