using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>While suspended the file belongs to qemu-img; clients see a pause and nothing else.</summary>
public sealed class SuspendUnderLoadTests
{
    [Fact]
    public void Load_that_is_verified_goes_on_over_snapshots_resize_check_and_amend()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "64M");
        var server = Server.Attach(folder, image);
        using var fio = Fio.Start(folder, server, "32M");
        string[][] edits =
        [
            ["snapshot", "-c", "one", image],
            ["check", "-f", "qcow2", image],
            ["amend", "-f", "qcow2", "-o", "lazy_refcounts=on", image],
            ["snapshot", "-c", "two", image],
            ["resize", "-f", "qcow2", image, "+16M"],
            ["snapshot", "-d", "one", image],
            ["amend", "-f", "qcow2", "-o", "lazy_refcounts=off", image],
            ["snapshot", "-d", "two", image],
        ];

        foreach (var edit in edits)
        {
            fio.WaitForProgress();
            server.Suspend().Passed();
            Assert.Equal("suspended", server.ReadState());
            Run.QemuImg(edit);
            server.Resume().Passed();
            Assert.Equal("running", server.ReadState());
        }

        fio.WaitForProgress();
        fio.EndWithoutErrors();
        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void Bitmap_that_is_added_while_suspended_follows_our_writes()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "16M");
        var server = Server.Attach(folder, image);

        server.Suspend().Passed();
        Run.QemuImg("bitmap", "--add", image, "changes");
        server.Resume().Passed();
        Run.QemuIoAs("raw", server.Uri, "write -P 5 1M 64k", "flush");
        server.Detach();

        Verdict.Sound(image);
        var info = Run.QemuImg("info", "-f", "qcow2", image);
        Assert.Contains("changes", info.Output, System.StringComparison.Ordinal);
        Assert.DoesNotContain("in-use", info.Output, System.StringComparison.Ordinal);
        var listed = folder.Qcow2Blk("bitmap", "--json", "list", image).Passed().Output;
        Assert.Contains("\"dirty-bytes\":65536", listed.Replace(" ", "", System.StringComparison.Ordinal), System.StringComparison.Ordinal);
    }

    [Fact]
    public void Suspended_image_is_closed_unlocked_and_sound_with_all_that_was_written()
    {
        using var folder = new Folder();
        var below = folder.Image("base.qcow2", "16M");
        var image = folder.Overlay("disk.qcow2", "base.qcow2");
        var server = Server.Attach(folder, image);
        Run.QemuIoAs("raw", server.Uri, "write -P 7 1M 100k");

        server.Suspend().Passed();

        Assert.DoesNotContain(server.OpenFiles(), path => path == image || path == below);
        Verdict.Clean(image);
        Run.QemuIo(image, "read -P 7 1M 100k", "write -P 8 2M 64k");
        Run.QemuIo(below, "write -P 9 3M 64k");
        server.Resume().Passed();
        Assert.Contains(server.OpenFiles(), path => path == image);
        Run.QemuIoAs("raw", server.Uri, "read -P 7 1M 100k", "read -P 8 2M 64k", "read -P 9 3M 64k");
        server.Detach();
    }

    [Fact]
    public void Suspended_twice_and_resumed_twice_is_harmless_and_says_so()
    {
        using var folder = new Folder();
        var server = Server.Attach(folder, folder.Image("disk.qcow2", "1M"));

        Assert.Equal("", server.Suspend().Passed().Errors);
        Assert.Contains("already suspended", server.Suspend().Passed().Errors);
        Assert.Equal("", server.Resume().Passed().Errors);
        Assert.Contains("not suspended", server.Resume().Passed().Errors);
        Assert.Equal("running", server.ReadState());
        server.Detach();
    }

    [Fact]
    public void Grown_disk_is_seen_by_the_next_client_and_can_be_written_to_its_end()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M", "cluster_size=4k");
        var server = Server.Attach(folder, image);

        server.Suspend().Passed();
        Run.QemuImg("resize", "-f", "qcow2", image, "300M");
        Assert.Contains("314572800", server.Resume().Passed().Errors);

        Assert.Equal("314572800", Run.Program("nbdinfo", "--size", server.Uri).Passed().Output.Trim());
        Assert.Equal(314572800, server.Status().GetProperty("geometry").GetProperty("size").GetInt64());
        Run.QemuIoAs("raw", server.Uri, "write -P 3 299M 1M", "read -P 3 299M 1M", "read -P 0 0 1M");
        server.Detach();
        Verdict.Clean(image);
        Run.QemuIo(image, "read -P 3 299M 1M");
    }

    [Fact]
    public void Shrunk_disk_is_refused_until_it_is_allowed()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "4M");
        var server = Server.Attach(folder, image);

        server.Suspend().Passed();
        Run.QemuImg("resize", "-f", "qcow2", "--shrink", image, "2M");
        server.Resume().Refused(1, "4194304", "2097152", "--allow-shrink");
        Assert.Equal("suspended", server.ReadState());
        Verdict.Clean(image);
        server.Resume("--allow-shrink").Passed();

        Assert.Equal("2097152", Run.Program("nbdinfo", "--size", server.Uri).Passed().Output.Trim());
        server.Detach();
    }

    [Fact]
    public void Reading_a_snapshot_view_survives_suspend_and_a_new_snapshot()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        Run.QemuIo(image, "write -P 1 0 64k");
        Run.QemuImg("snapshot", "-c", "old", image);
        Run.QemuIo(image, "write -P 2 0 64k");
        var server = Server.Attach(folder, image, "--snapshot", "old");

        server.Suspend().Passed();
        Run.QemuImg("snapshot", "-c", "new", image);
        server.Resume().Passed();

        Run.QemuIoAs("raw", server.Uri, "read -P 1 0 64k");
        server.Detach();
        Assert.Equal(2,
            Run.QemuImg("snapshot", "-l", image).Output.Split('\n').Count(line => line.Contains("old") || line.Contains("new")));
    }
}
