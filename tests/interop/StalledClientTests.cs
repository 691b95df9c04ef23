using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Clients that stop in the middle of a request hold up nobody, and lose nothing: the cases of clients/stalled.py.</summary>
public sealed class StalledClientTests
{
    private const string Program = "stalled.py";

    [Theory]
    [InlineData("on")]
    [InlineData("off")]
    public void Payload_that_comes_after_the_memory_was_full_reaches_the_disk(string ring)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "32M");
        var server = RingServer.Attach(folder, ring, image);

        Client.Python3(Program, "payload_after_the_memory_was_full", server.Socket);

        server.Detach();
        Verdict.Clean(image);
    }

    [Theory]
    [InlineData("on")]
    [InlineData("off")]
    public void Write_whose_payload_stalls_over_a_suspend_is_done_after_the_resume(string ring)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "8M");
        var server = RingServer.Attach(folder, ring, image);
        using var client = Client.Start(Program, "payload_in_two_parts", server.Socket);
        client.WaitForLine("stalled");

        server.Suspend("--timeout", "5").Passed();
        Verdict.Clean(image);
        client.Tell("go on");
        client.WaitForLine("sent");
        var before = Folder.Hash(image);
        System.Threading.Thread.Sleep(300);
        Assert.Equal("suspended", server.Status().GetProperty("state").GetString());
        Assert.Equal(before, Folder.Hash(image));
        server.Resume().Passed();
        client.Tell("resumed");
        client.WaitForLine("done");

        client.Wait().Passed();
        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void Payload_that_never_ends_holds_up_neither_suspend_nor_detach()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "8M");
        var server = Server.Attach(folder, image);
        using var client = Client.Start(Program, "payload_that_never_ends", server.Socket);
        client.WaitForLine("stalled");

        server.Suspend("--timeout", "5").Passed();
        server.Resume().Passed();
        Run.QemuIoAs("raw", server.Uri, "write -P 3 1M 64k", "read -P 3 1M 64k");
        server.Detach();

        client.Tell("end");
        client.Wait().Passed();
        Verdict.Clean(image);
        Run.QemuIo(image, "read -P 0 0 1M", "read -P 3 1M 64k");
    }

    [Fact]
    public void Half_sent_payloads_of_many_clients_are_bounded_by_what_all_of_them_may_hold()
    {
        const int clients = 24, budgetKiB = 128 << 10, ownKiB = 1280;
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "64M");
        var server = Server.Attach(folder, image);
        Run.QemuIoAs("raw", server.Uri, "write -P 3 0 32M", "read -P 3 0 32M");
        var before = server.ResidentKiB;
        using var client = Client.Start("stalled.py", "payloads_that_lack_a_byte", server.Socket, $"{clients}");
        client.WaitForLine("stalled");

        // 24 payloads of 32 MiB are 768.
        var grown = server.ResidentKiB - before;
        Run.QemuIoAs("raw", server.Uri, "write -P 4 0 1M", "read -P 4 0 1M");

        Assert.InRange(grown, 0, budgetKiB + (clients * ownKiB));
        client.Tell("end");
        client.Wait().Passed();
        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void Trim_of_an_exbibyte_keeps_neither_suspend_nor_detach_waiting()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1E", "cluster_size=2M");
        Run.QemuIo(image, "write -P 1 900P 2M");
        var server = Server.Attach(folder, image);
        using var client = Client.Start("stalled.py", "trim_of_an_exbibyte", server.Socket);
        client.WaitForLine("trimming");

        server.Suspend("--timeout", "20").Passed();
        server.Resume().Passed();
        client.Tell("resumed");
        client.WaitForLine("again");
        server.Detach();

        client.Wait().Passed();
        Verdict.Clean(image);
        Run.QemuIo(image, "read -P 0 900P 2M");
    }

    [Fact]
    public void Clients_that_close_with_unread_replies_in_the_middle_of_a_payload_leave_nothing_behind()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "32M");
        var server = Server.Attach(folder, image);

        Client.Python3(Program, "closes_with_unread_replies_in_the_middle_of_a_payload", server.Socket);

        Deadline.Until(() => server.Status().GetProperty("requests").GetProperty("connections").GetInt64() == 0,
            "every connection has ended");
        Assert.Equal(0, server.Status().GetProperty("requests").GetProperty("in-flight").GetInt64());
        server.Suspend("--timeout", "10").Passed();
        server.Resume().Passed();
        server.Detach();
        Verdict.Clean(image);
    }
}
