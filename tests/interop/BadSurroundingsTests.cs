using System;
using System.IO;
using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Files and sockets that are missing, in the way or not ours; servers that died.</summary>
public sealed class BadSurroundingsTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Missing_image() => Attach(_folder.File("nope.qcow2")).Refused(1, "nope.qcow2", "no such file");

    [Fact]
    public void Directory_as_image() => Attach(_folder.Sub("disk.qcow2")).Refused(1, "disk.qcow2", "directory");

    [Theory]
    [InlineData("--read-only")]
    [InlineData("--cache=none")]
    public void Pipe_as_image_is_refused_and_not_waited_for(string option)
    {
        var pipe = _folder.File("pipe");
        Run.Program("mkfifo", pipe).Passed();

        _folder.Qcow2Blk("attach", pipe, option, "--socket", _folder.File("s")).Refused(1, "pipe", "neither a regular file");
    }

    [Fact]
    public void Unreadable_image()
    {
        var image = _folder.Image("disk.qcow2", "1M");
        var binary = _folder.File("qcow2blk");
        File.Copy(Command.Path, binary);
        File.SetUnixFileMode(image, UnixFileMode.None);
        string[] command = [binary, "attach", image, "--socket", _folder.File("s")];
        if (Environment.UserName == "root")
        {
            // Root reads everything.
            Run.Program("chown", "nobody", _folder.RuntimeDirectory).Passed();
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--bounding-set=-all", .. command];
        }

        Run.Start(Command.Environment(_folder), command[0], command[1..]).Wait().Refused(1, "disk.qcow2", "permission denied");
    }

    [Fact]
    public void Socket_in_use_is_left_alone()
    {
        var socket = _folder.File("s");
        var server = Server.Attach(_folder, _folder.Image("first.qcow2", "1M"));
        var second = _folder.Image("second.qcow2", "1M");

        _folder.Qcow2Blk("attach", second, "--socket", server.Socket).Refused(4, "second.qcow2", server.Socket, "in use");

        Run.QemuIoAs("raw", server.Uri, "read 0 512");
        server.Detach();
        Assert.False(File.Exists(socket));
    }

    [Fact]
    public void Port_in_use()
    {
        using var listener = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        var port = ((System.Net.IPEndPoint)listener.LocalEndpoint).Port;

        _folder.Qcow2Blk("attach", _folder.Image("disk.qcow2", "1M"), "--listen", $"127.0.0.1:{port}")
            .Refused(4, "disk.qcow2", $"{port}", "in use");
    }

    [Fact]
    public void Plain_file_at_the_socket_path_is_not_removed()
    {
        var precious = _folder.File("precious");
        File.WriteAllText(precious, "data");

        _folder.Qcow2Blk("attach", _folder.Image("disk.qcow2", "1M"), "--socket", precious).Refused(1, "precious", "not a socket");

        Assert.Equal("data", File.ReadAllText(precious));
    }

    [Fact]
    public void Socket_in_a_missing_directory() =>
        _folder.Qcow2Blk("attach", _folder.Image("disk.qcow2", "1M"), "--socket", _folder.File("nowhere/s"))
        .Refused(1, "nowhere/s", "no such file");

    [Fact]
    public void Dead_server_shows_as_dead_until_detached_and_its_socket_is_used_again()
    {
        var image = _folder.Image("disk.qcow2", "1M");
        var server = Server.Attach(_folder, image);
        server.Kill();

        Assert.Equal(["dead"], States());
        _folder.Qcow2Blk("suspend", "disk").Refused(1, "disk", "dead");
        _folder.Qcow2Blk("attach", image, "--socket", server.Socket, "--name", "again").Passed();
        Assert.Equal(["again running", "disk dead"], States(withNames: true));
        _folder.Qcow2Blk("detach", "disk").Passed();
        Assert.Equal(["again running"], States(withNames: true));
        Run.QemuIoAs("raw", server.Uri, "write -P 1 0 512");
        _folder.Qcow2Blk("detach", "again").Passed();
        Assert.Empty(States());
        Verdict.Clean(image);
    }

    [Fact]
    public void Detach_leaves_the_socket_of_another_server_that_took_its_path()
    {
        var first = Server.Attach(_folder, _folder.Image("first.qcow2", "1M"));
        File.Delete(first.Socket);
        _folder.Qcow2Blk("attach", _folder.Image("second.qcow2", "2M"), "--socket", first.Socket).Passed();

        _folder.Qcow2Blk("detach", "first").Passed();

        Assert.Equal("2097152\n", Run.Program("nbdinfo", "--size", first.Uri).Passed().Output);
        _folder.Qcow2Blk("detach", "second").Passed();
        Assert.False(File.Exists(first.Socket));
    }

    [Fact]
    public void Killed_server_that_is_detached_takes_its_own_socket_and_pid_file_with_it_and_no_others()
    {
        var pidFile = _folder.File("pid");
        var server = Server.Attach(_folder, _folder.Image("disk.qcow2", "1M"), "--pid-file", pidFile);
        server.Kill();
        var kept = _folder.File("kept");
        File.Move(server.Socket, kept);
        Run.Program("/usr/bin/python3", "-c", $"import socket; socket.socket(socket.AF_UNIX).bind('{server.Socket}')").Passed();

        _folder.Qcow2Blk("detach", "disk").Passed();

        Assert.True(File.Exists(server.Socket), "the socket of another program is gone");
        Assert.False(File.Exists(pidFile));
        File.Delete(server.Socket);

        var again = Server.Attach(_folder, _folder.File("disk.qcow2"));
        again.Kill();
        _folder.Qcow2Blk("detach", "disk").Passed();
        Assert.False(File.Exists(again.Socket));
    }

    private string[] States(bool withNames = false)
    {
        using var list = System.Text.Json.JsonDocument.Parse(_folder.Qcow2Blk("list", "--json").Passed().Output);
        return
        [
            .. list.RootElement.EnumerateArray().Select(device => (withNames ? device.GetProperty("name").GetString() + " " : "")
                + device.GetProperty("state").GetString()).Order(StringComparer.Ordinal),
        ];
    }

    private Outcome Attach(string image) => _folder.Qcow2Blk("attach", image, "--socket", _folder.File("s"));
}
