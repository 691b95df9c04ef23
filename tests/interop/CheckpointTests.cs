using System;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Checkpoints of disks that are written all the time, read by a backup program beside the writer.</summary>
public sealed class CheckpointTests
{
    [Theory]
    [InlineData("")]
    [InlineData("cluster_size=4k")]
    [InlineData("extended_l2=on")]
    public void Full_and_incremental_backup_restore_the_disk_byte_for_byte(string options)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "24M", options);
        Run.QemuIo(image, "write -P 1 0 12M");
        var server = Server.Attach(folder, image);
        var copy = folder.File("copy.raw");
        using var load = Client.Start("two_disks.py", "forever", server.Uri);
        load.WaitForLine("writing");

        folder.Qcow2Blk("checkpoint", "create", "full", server.Name).Passed();
        using (var point = Point(folder, image, "full"))
        {
            Run.Program("nbdcopy", point.Uri, copy).Passed();
            point.Detach();
        }

        var since = "full";
        for (var round = 1; round <= 3; round++)
        {
            load.WaitForLine("more");
            var name = $"point{round}";
            folder.Qcow2Blk("checkpoint", "create", name, server.Name).Passed();
            using var point = Point(folder, image, name, "--bitmap", since);
            Client.Python3("incremental.py", point.Uri, since, copy);
            Run.Program("nbdcopy", point.Uri, folder.File("whole.raw")).Passed();
            Assert.True(
                File.ReadAllBytes(copy).AsSpan().SequenceEqual(File.ReadAllBytes(folder.File("whole.raw"))), $"round {round} differs");
            point.Detach();
            folder.Qcow2Blk("checkpoint", "delete", since, server.Name).Passed();
            since = name;
        }

        load.Signal("TERM");
        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void Checkpoint_of_two_disks_is_of_one_instant()
    {
        using var folder = new Folder();
        var (first, second) = (folder.Image("a.qcow2", "16M"), folder.Image("b.qcow2", "16M"));
        var (one, two) = (Server.Attach(folder, first), Server.Attach(folder, second));
        using var load = Client.Start("two_disks.py", "forever", one.Uri, two.Uri);
        load.WaitForLine("writing");

        for (var round = 0; round < 5; round++)
        {
            load.WaitForLine("more");
            folder.Qcow2Blk("checkpoint", "create", $"c{round}", one.Name, two.Name).Passed();
        }

        load.Signal("TERM");
        one.Detach();
        two.Detach();
        for (var round = 0; round < 5; round++)
        {
            string[] raw = [folder.Raw(first, $"a{round}.raw", "-l", $"snapshot.name=c{round}"),
                folder.Raw(second, $"b{round}.raw", "-l", $"snapshot.name=c{round}")];

            // The writer waits for each write before the next: of the second disk nothing is newer, or older by more than one.
            Client.Python3("two_disks.py", "compare", raw[0], raw[1]);
        }

        Verdict.Clean(first);
        Verdict.Clean(second);
    }

    [Fact]
    public void Recipe_is_the_program_that_is_tested_here()
    {
        var program = Checkout.Read("tests/interop/clients/incremental.py");
        Assert.Contains(program, Checkout.Read("docs/recipes.md"), StringComparison.Ordinal);
    }

    private static Server Point(Folder folder, string image, string name, params string[] options) =>
        Server.Attach(folder, image, ["--snapshot", name, "--read-only", "--name", $"at-{name}", .. options]);
}
