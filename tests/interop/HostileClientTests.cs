using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Clients that misbehave end their own connection and nothing else: the cases of clients/hostile.py and
/// clients/extended.py.</summary>
public sealed class HostileClientTests
{
    [Theory]
    [InlineData("client_that_leaves_in_the_middle_of_a_write")]
    [InlineData("half_a_request")]
    [InlineData("half_an_option")]
    [InlineData("garbage_instead_of_a_handshake")]
    [InlineData("garbage_instead_of_a_request")]
    [InlineData("absurd_option_length")]
    [InlineData("endless_options")]
    [InlineData("absurd_write_length")]
    [InlineData("more_connections_than_there_may_be")]
    public void Server_answers_the_next_client_after(string misbehaviour)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "64M");
        var server = Server.Attach(folder, image);

        Client.Python3("hostile.py", misbehaviour, server.Socket);

        server.Detach();
        Verdict.Clean(image);
    }

    [Theory]
    [InlineData("reader_that_never_reads", "asked", 150)]
    [InlineData("writers_that_never_finish", "begun", 150)]
    public void Memory_stays_bounded_with(string misbehaviour, string reached, int mebibytes)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "64M");
        Run.QemuIo(image, "write -P 1 0 64M");
        var server = Server.Attach(folder, image);

        using var client = Client.Start("hostile.py", misbehaviour, server.Socket);
        client.WaitForLine(reached);
        var resident = server.ResidentKiB;
        client.Tell("end");
        client.Wait().Passed();

        Assert.InRange(resident >> 10, 1, mebibytes);
        server.Detach();
        Verdict.Clean(image);
    }

    [Theory]
    [InlineData("reads_what_was_written")]
    [InlineData("zeroes_and_trims_nine_gib_at_once")]
    [InlineData("block_status_of_the_whole_disk_is_one_extent")]
    [InlineData("write_without_the_payload_flag_is_the_end")]
    public void Extended_headers(string promise)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "12G");
        var server = Server.Attach(folder, image);

        Client.Python3("extended.py", promise, server.Socket);

        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void Requests_at_the_end_of_the_largest_disk_and_past_it_are_judged()
    {
        using var folder = new Folder();
        var image = folder.File("large.raw");
        using (var made = File.Create(image))
            made.SetLength(long.MaxValue & -(1L << 30));
        var server = Server.Attach(folder, image, "--format", "raw");

        Client.Python3("extended.py", "edges_of_the_largest_disk_are_kept", server.Socket);

        server.Detach();
    }
}
