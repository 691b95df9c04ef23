using System;
using System.IO;
using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>What comes to a suspended device waits; what has come in part, or goes away again, does no harm.</summary>
public sealed class GateTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Client_that_stalls_in_the_middle_of_a_write_does_not_keep_the_device_from_being_suspended()
    {
        var image = _folder.Image("disk.qcow2", "16M");
        var server = Server.Attach(_folder, image);
        using var client = Client.Start("stalled_write.py", server.Socket, "1048576");
        client.WaitForLine("half");

        server.Suspend("--timeout", "5").Passed();
        Verdict.Clean(image);
        client.Tell("the rest");
        server.Resume().Passed();

        client.WaitForLine("done");
        client.Wait().Passed();
        server.Detach();
        Verdict.Clean(image);
        Run.QemuIo(image, "read -P 0 0 1M", "read -P 0x5a 1M 2M");
    }

    [Fact]
    public void Client_that_dies_while_its_writes_are_held_does_no_harm()
    {
        var image = _folder.Image("disk.qcow2", "16M");
        var server = Server.Attach(_folder, image);
        var client = Client.Start("held_write.py", server.Uri, "1048576", "20");
        client.WaitForLine("connected");
        server.Suspend().Passed();
        client.Tell("go");
        client.WaitForLine("sent");

        client.Dispose();
        server.Resume().Passed();

        Run.QemuIoAs("raw", server.Uri, "write -P 3 8M 1M", "flush", "read -P 3 8M 1M");
        Deadline.Until(() => server.Status().GetProperty("requests").GetProperty("connections").GetInt32() == 0,
            "the dead client's connection is gone");
        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void New_client_can_connect_while_suspended()
    {
        var image = _folder.Image("disk.qcow2", "16M");
        var server = Server.Attach(_folder, image);
        server.Suspend().Passed();

        Assert.Equal($"{16 << 20}", Run.Program("nbdinfo", "--size", server.Uri).Passed().Output.Trim());
        using var reader = Run.Start(null, "qemu-io", "-r", "-f", "raw", "-c", "read -P 4 0 64k", server.Uri);
        Run.QemuIo(image, "write -P 4 0 64k");
        server.Resume().Passed();

        Assert.DoesNotContain("failed", reader.Wait().Passed().Output);
        server.Detach();
    }

    [Fact]
    public void Commit_and_rebase_while_suspended_change_the_chain_and_not_the_disk()
    {
        var bottom = _folder.Image("bottom.qcow2", "16M");
        Run.QemuIo(bottom, "write -P 1 0 4M");
        var middle = _folder.Overlay("middle.qcow2", "bottom.qcow2");
        Run.QemuIo(middle, "write -P 2 2M 4M");
        var top = _folder.Overlay("top.qcow2", "middle.qcow2");
        var server = Server.Attach(_folder, top);
        Run.QemuIoAs("raw", server.Uri, "write -P 3 5M 2M");

        server.Suspend().Passed();
        Run.QemuImg("commit", "-q", "-f", "qcow2", middle);
        Run.QemuImg("rebase", "-f", "qcow2", "-b", "bottom.qcow2", "-F", "qcow2", top);
        server.Resume().Passed();

        Run.QemuIoAs("raw", server.Uri, "read -P 1 0 2M", "read -P 2 2M 3M", "read -P 3 5M 2M", "read -P 0 7M 9M");
        Assert.Equal([top, bottom], server.Status().GetProperty("chain").EnumerateArray()
            .Select(link => link.GetProperty("path").GetString()));
        server.Detach();
        Verdict.Clean(top);
    }

    [Fact]
    public void Discard_gives_space_back_to_the_host()
    {
        var image = _folder.Image("disk.qcow2", "32M");
        Run.QemuIo(image, "write -P 1 0 32M");
        var server = Server.Attach(_folder, image, "--discard", "unmap");

        var before = Blocks(image);
        Run.QemuIoAs("raw", server.Uri, "discard 4M 24M", "flush", "read -P 1 0 4M", "read -P 0 4M 24M", "read -P 1 28M 4M");
        server.Detach();

        Assert.InRange(before - Blocks(image), 23 << 11, 25 << 11);
        Verdict.Clean(image);
    }

    private static long Blocks(string path) => long.Parse(Run.Program("stat", "-c", "%b", path).Passed().Output);
}
