using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>What libnbd clients get from an attached image: the cases of clients/nbd_requests.py.</summary>
public sealed class NbdRequestTests
{
    private const string Requests = "nbd_requests.py";

    [Theory]
    [InlineData("export_says_what_it_can")]
    [InlineData("holes_travel_as_holes")]
    [InlineData("simple_replies_do_everything")]
    [InlineData("export_name_instead_of_go")]
    [InlineData("zeroes_with_and_without_hole")]
    [InlineData("trim_frees_and_reads_zero")]
    [InlineData("errors_leave_the_connection_alive")]
    public void Client_of_a_sparse_image(string promise)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "8M");
        Run.QemuIo(image, "write -P 1 0 1M", "write -P 2 2M 1M");
        var server = Server.Attach(folder, image, "--discard", "unmap");

        Client.Python3(Requests, promise, server.Uri);

        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void Read_only_refuses_to_write()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        var before = Folder.Hash(image);
        var server = Server.Attach(folder, image, "--read-only");

        Client.Python3(Requests, "read_only_refuses_to_write", server.Uri);

        server.Detach();
        Assert.Equal(before, Folder.Hash(image));
    }

    [Fact]
    public void Three_hundred_requests_of_all_sizes_at_once_are_served_in_bounded_memory()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "256M");
        var server = Server.Attach(folder, image);

        Client.Python3(Requests, "three_hundred_requests_of_all_sizes_at_once", server.Uri);

        Assert.InRange(server.ResidentKiB, 0, 160 << 10);
        server.Detach();
        Verdict.Clean(image);
    }

    [Fact]
    public void Flush_on_one_connection_covers_writes_on_another_though_the_server_is_killed()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "8M");
        var server = Server.Attach(folder, image, "--queues", "2");

        Client.Python3(Requests, "flush_covers_the_other_connection", server.Uri);
        server.Kill();

        Verdict.Sound(image);
        for (var i = 0; i < 16; i++)
            Run.QemuIo(image, $"read -P {i + 1} {i * 131072} 65536");
    }

    [Fact]
    public void Write_with_fua_survives_a_killed_server_without_a_flush()
    {
        using var folder = new Folder();
        var image = folder.Overlay("disk.qcow2", folder.Image("base.qcow2", "8M"));
        Run.QemuIo(folder.File("base.qcow2"), "write -P 77 0 8M");
        var server = Server.Attach(folder, image);

        Client.Python3(Requests, "fua_needs_no_flush", server.Uri);
        server.Kill();

        Verdict.Sound(image);
        for (var i = 0; i < 8; i++)
            Run.QemuIo(image, $"read -P {i + 1} {i * 200000} 4096");
        Run.QemuIo(image, "read -P 0 3M 65536", "read -P 77 4M 65536");
    }

    [Theory]
    [InlineData("--detect-zeroes=off", 1048576L)]
    [InlineData("--detect-zeroes=on", 0L)]
    public void Detected_zeroes_take_no_space(string option, long data)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "8M");
        var server = Server.Attach(folder, image, option);

        Run.QemuIoAs("raw", server.Uri, "write -P 0 0 1M", "flush");
        server.Detach();

        Assert.Equal(data, Map.Data(image));
        Verdict.Clean(image);
    }

    [Theory]
    [InlineData("unmap", 0L)]
    [InlineData("ignore", 1048576L)]
    public void Discard_frees_space_or_is_ignored(string discard, long data)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "8M");
        Run.QemuIo(image, "write -P 5 0 1M");
        var server = Server.Attach(folder, image, "--discard", discard);

        Run.QemuIoAs("raw", server.Uri, "discard 0 1M", "flush");
        server.Detach();

        Assert.Equal(data, Map.Data(image));
        Verdict.Clean(image);
    }
}
