using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Ways a server ends while others still use what it has: nothing is freed under their feet.</summary>
public sealed class EndTests
{
    [Fact]
    public void Activating_socket_stays_usable_when_the_server_has_ended()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");

        Client.Python3("activated.py", "socket_serves_one_server_after_the_other", Command.Path, folder.RuntimeDirectory, image);

        Verdict.Clean(image);
        Run.QemuIo(image, "read -P 3 0 512");
    }

    [Theory]
    [InlineData("on")]
    [InlineData("off")]
    public void Forced_detach_under_load_leaves_a_sound_image(string ring)
    {
        using var disk = new DiskFolder();
        using var folder = new Folder();
        var image = disk.Image("disk.qcow2", "64M");
        for (var round = 0; round < 4; round++)
        {
            var server = RingServer.Attach(folder, ring, image, "--queues", "2", "--name", $"round{round}");
            using var load = StartLoad(folder, server.Uri);
            Deadline.Until(() => server.Status().GetProperty("requests").GetProperty("writes").GetInt64() > 50,
                "the load's writes are answered");

            Assert.Equal("", folder.Qcow2Blk("detach", server.Name, "--force").Passed().Errors);

            Assert.False(File.Exists(server.Socket));
            Verdict.Clean(image);
        }
    }

    [Fact]
    public void Terminated_foreground_server_under_load_ends_with_a_sound_image()
    {
        using var disk = new DiskFolder();
        using var folder = new Folder();
        string image = disk.Image("disk.qcow2", "64M"), socket = folder.File("s");
        for (var round = 0; round < 4; round++)
        {
            using var server = folder.StartQcow2Blk("attach", image, "--socket", socket, "--foreground", "--name", "disk");
            Deadline.Until(() => File.Exists(socket), "the server listens");
            using var load = StartLoad(folder, $"nbd+unix:///?socket={socket}");
            System.Threading.Thread.Sleep(400);

            server.Signal("TERM");

            server.Wait().Passed();
            Verdict.Clean(image);
        }
    }

    private static Running StartLoad(Folder folder, string uri)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/fio"), "no fio");
        return Run.Start(null, "fio", "--name=load", "--ioengine=nbd", $"--uri={uri}", "--rw=randwrite", "--bsrange=512-128k",
            "--bs_unaligned=1",
            "--size=64M", "--iodepth=32", "--time_based", "--runtime=60", $"--output={folder.File("load.txt")}",
            $"--aux-path={folder.RuntimeDirectory}");
    }
}
