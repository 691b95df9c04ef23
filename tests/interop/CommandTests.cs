using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Options of attach, as their effect is seen by others.</summary>
public sealed class CommandTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Nbdcopy_starts_a_server_for_itself()
    {
        var image = _folder.Image("disk.qcow2", "3M");
        Run.QemuIo(image, "write -P 4 1M 1M");
        var copy = _folder.File("copy.raw");

        Run.Start(Command.Environment(_folder), "nbdcopy", "--", "[", Command.Path, "attach", image, "--read-only", "]", copy).Wait()
            .Passed();

        Verdict.SameDisk(copy, image);
        Deadline.Until(() => Directory.GetFiles(_folder.RuntimeDirectory).Length == 0, "the server leaves nothing behind");
    }

    [Fact]
    public void Nbdcopy_between_two_images_of_ours()
    {
        var from = _folder.Image("from.qcow2", "9M");
        Run.QemuIo(from, "write -P 4 1M 3M", "write -P 5 8M 512");
        var source = Server.Attach(_folder, from, "--read-only");
        var to = _folder.Image("to.qcow2", "9M", "cluster_size=4k");
        var target = Server.Attach(_folder, to);

        Run.Program("nbdcopy", "--flush", source.Uri, target.Uri).Passed();

        source.Detach();
        target.Detach();
        Run.QemuImg("compare", "-f", "qcow2", "-F", "qcow2", from, to);
        Verdict.Clean(to);
        Assert.InRange(Map.Data(to), 1, 5 << 20);
    }

    [Fact]
    public void Qemu_img_convert_into_the_export_and_out_of_it()
    {
        var source = new ImageShape(_folder, "1.1", "64k", 16, 5 << 20).Make(Content.Plain).Path;
        var image = _folder.Image("target.qcow2", "5M");
        var server = Server.Attach(_folder, image);

        Run.QemuImg("convert", "-n", "-f", "qcow2", "-O", "raw", source, server.Uri);
        Run.QemuImg("compare", "-f", "qcow2", "-F", "raw", source, server.Uri);

        server.Detach();
        Verdict.Clean(image);
        Run.QemuImg("compare", "-f", "qcow2", "-F", "qcow2", source, image);
    }

    [Fact]
    public void Snapshot_is_served_by_name_and_by_id_with_its_own_size_and_data()
    {
        var image = _folder.Image("disk.qcow2", "2M");
        Run.QemuIo(image, "write -P 1 0 1M");
        Run.QemuImg("snapshot", "-c", "first", image);
        Run.QemuIo(image, "write -P 2 0 1M");
        Run.QemuImg("resize", "-q", "-f", "qcow2", image, "5M");
        var before = Folder.Hash(image);

        foreach (var snapshot in new[] { "first", "1" })
        {
            var server = Server.Attach(_folder, image, "--snapshot", snapshot);
            Run.QemuIoAs("raw", server.Uri, "read -P 1 0 1M", "read -P 0 1M 1M");
            Assert.Equal($"{2 << 20}", Run.Program("nbdinfo", "--size", server.Uri).Passed().Output.Trim());
            Assert.NotEqual(0, Run.Program("qemu-io", "-f", "raw", "-c", "write 0 512", server.Uri).Status);
            server.Detach();
        }

        Assert.Equal(before, Folder.Hash(image));
    }

    [Fact]
    public void Raw_image_is_served_as_it_is_and_a_qcow2_header_in_it_is_only_data()
    {
        var inner = _folder.Image("inner.qcow2", "64M");
        var raw = _folder.File("disk.raw");
        File.Copy(inner, raw);
        var server = Server.Attach(_folder, raw, "--format", "raw");

        // As qemu: a raw disk ends with a whole sector.
        Assert.Equal($"{(new FileInfo(inner).Length + 511) / 512 * 512}",
            Run.Program("nbdinfo", "--size", server.Uri).Passed().Output.Trim());
        Run.QemuIoAs("raw", server.Uri, "write -P 3 64k 512", "flush");

        server.Detach();
        Run.QemuIoAs("raw", raw, "read -P 3 64k 512");
    }

    [Theory]
    [InlineData("none", true)]
    [InlineData("writeback", false)]
    public void Cache_mode_decides_whether_the_page_cache_is_passed_by(string cache, bool direct)
    {
        const int openDirect = 0x4000; // O_DIRECT
        var image = _folder.Image("disk.qcow2", "1M");
        var server = Server.Attach(_folder, image, "--cache", cache);

        var descriptor = Directory.EnumerateFileSystemEntries($"/proc/{server.Pid}/fd")
            .First(link => new FileInfo(link).LinkTarget == image);
        var flags = File.ReadLines($"/proc/{server.Pid}/fdinfo/{Path.GetFileName(descriptor)}")
            .First(line => line.StartsWith("flags:", StringComparison.Ordinal));
        Run.QemuIoAs("raw", server.Uri, "write -P 1 1000 5000", "flush", "read -P 1 1000 5000");

        Assert.Equal(direct, (Convert.ToInt32(flags.Split('\t')[1], 8) & openDirect) != 0);
        Assert.Equal(direct, server.Status().GetProperty("chain")[0].GetProperty("direct").GetBoolean());
        server.Detach();
        Verdict.Clean(image);
        Run.QemuIo(image, "read -P 1 1000 5000");
    }

    [Fact]
    public void Tcp_address_is_served_and_announced()
    {
        var image = _folder.Image("disk.qcow2", "1M");

        var uri = _folder.Qcow2Blk("attach", image, "--listen", "127.0.0.1:0", "--name", "net").Passed().Output.Trim();

        Assert.Matches("^nbd://127\\.0\\.0\\.1:[0-9]+/?", uri);
        Run.QemuIoAs("raw", uri, "write -P 1 0 64k", "read -P 1 0 64k");
        _folder.Qcow2Blk("detach", uri).Passed();
        Run.QemuIo(image, "read -P 1 0 64k");
    }

    [Fact]
    public void Pid_file_is_there_while_clients_can_connect_and_gone_after()
    {
        var pidFile = _folder.File("pid");
        var server = Server.Attach(_folder, _folder.Image("disk.qcow2", "1M"), "--pid-file", pidFile);

        Assert.Equal($"{server.Pid}\n", File.ReadAllText(pidFile));
        server.Detach();
        Assert.False(File.Exists(pidFile));
    }

    [Fact]
    public void Json_of_attach_list_and_status_agree()
    {
        var image = _folder.Overlay("disk.qcow2", _folder.Image("base.qcow2", "1M"));
        var server = Server.Attach(_folder, image);
        Run.QemuIoAs("raw", server.Uri, "write 0 64k", "read 0 64k", "flush");

        var listed = JsonDocument.Parse(_folder.Qcow2Blk("list", "--json").Passed().Output).RootElement.EnumerateArray().Single();
        var status = server.Status();

        foreach (var shown in new[] { listed, status })
        {
            Assert.Equal(("disk", "running", server.Uri, image, server.Pid), (Text(shown, "name"), Text(shown, "state"), Text(shown, "uri"),
                Text(shown, "image"), shown.GetProperty("pid").GetInt32()));
        }

        Assert.Equal([image, _folder.File("base.qcow2")], status.GetProperty("chain").EnumerateArray().Select(link => Text(link, "path")));
        var geometry = status.GetProperty("geometry");
        Assert.Equal((1 << 20, 65536, 3),
            (geometry.GetProperty("size").GetInt32(), geometry.GetProperty("cluster-size").GetInt32(),
                geometry.GetProperty("version").GetInt32()));
        var requests = status.GetProperty("requests");
        Assert.Equal((65536, 65536), (requests.GetProperty("read-bytes").GetInt32(), requests.GetProperty("written-bytes").GetInt32()));
        server.Detach();
    }

    [Fact]
    public void Server_is_ready_no_later_than_qemu_nbd_would_be_and_some()
    {
        var image = _folder.Image("disk.qcow2", "1G");
        long ours = long.MaxValue, theirs = long.MaxValue;
        // In turn, and the best of each: what other programs take away is no part of it.
        for (var round = 0; round < 7; round++)
        {
            ours = Math.Min(ours, Time(() =>
            {
                var server = Server.Attach(_folder, image);
                Run.Program("nbdinfo", "--size", server.Uri).Passed();
                return server.Kill;
            }));
            theirs = Math.Min(theirs, Time(() =>
            {
                var server = QemuNbd.Serve(_folder, image, out var uri);
                // Its socket can be there a moment before it listens.
                for (var attempt = 0; Run.Program("nbdinfo", "--size", uri) is { Status: not 0 } refused; attempt++)
                    Assert.True(attempt < 100, refused.Errors);
                return server.Dispose;
            }));
        }

        Assert.True(ours < 2 * theirs + 50, $"start to first answer: {ours} ms, qemu-nbd {theirs} ms");
    }

    /// <summary>Milliseconds of what is started; it is ended after that.</summary>
    private static long Time(Func<Action> start)
    {
        var started = Stopwatch.GetTimestamp();
        var end = start();
        var taken = (long)Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        end();
        return taken;
    }

    private static string? Text(JsonElement element, string name) => element.GetProperty(name).GetString();
}
