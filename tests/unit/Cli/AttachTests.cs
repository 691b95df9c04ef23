using System;
using System.Diagnostics;
using System.IO;
using System.Text.Json;
using System.Threading;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>The life of attached images as users see it: real processes, real clients.</summary>
public sealed class AttachTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("q2b-attach-").FullName;
    private readonly string _runtime;
    private readonly string _image;
    private readonly string _socket;

    public AttachTests()
    {
        _runtime = Path.Combine(_folder, "run");
        _image = Path.Combine(_folder, "disk.qcow2");
        _socket = Path.Combine(_folder, "nbd.sock");
        Assert.Equal(0, Command.Start("qemu-img", _runtime, "create", "-q", "-f", "qcow2", _image, "64M").Status);
    }

    public void Dispose()
    {
        foreach (var device in Json("list", "--json").EnumerateArray())
            Run("detach", "--force", device.GetProperty("name").GetString()!);
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Attached_image_is_written_suspended_for_qemu_img_resumed_and_detached_without_a_trace()
    {
        Assert.Equal((0, $"nbd+unix:///?socket={_socket}\n", ""), Run("attach", _image, "--socket", _socket));
        Client("write -P 7 1M 100k");
        Assert.Equal((0, "", ""), Run("suspend", "disk"));
        Qemu("snapshot", "-c", "one", _image);
        Assert.Equal((0, "", "qcow2blk: disk: disk is already suspended\n"), Run("suspend", "disk"));
        Assert.Equal((0, "", ""), Run("resume", _image));
        Assert.Equal(0, Run("resume", "disk").Status);
        Client("read -P 7 1M 100k");
        Assert.Equal((0, "", ""), Run("detach", $"nbd+unix:///?socket={_socket}"));
        Assert.Empty(Directory.GetFileSystemEntries(_runtime));
        Assert.False(File.Exists(_socket));
        Qemu("check", "-q", _image);
    }

    [Fact]
    public void Second_writer_of_an_image_ends_with_status_4_and_the_holders_name()
    {
        var pid = Attach();
        (var status, var output, var errors) = Run("attach", _image, "--socket", _socket + "2");
        Assert.Equal((4, ""), (status, output));
        Assert.Matches($"^qcow2blk: cannot attach {_image}: image is in use by \\S+ \\(process {pid}\\)", errors);
        Assert.NotEqual(0, Command.Start("qemu-img", _runtime, "check", _image).Status);
    }

    [Fact]
    public void Killed_server_is_listed_dead_until_detached_and_its_socket_is_cleaned_up()
    {
        Process.GetProcessById(Attach()).Kill();
        Assert.True(SpinWait.SpinUntil(() => Json("list", "--json")[0].GetProperty("state").GetString() == "dead", 10_000));
        Assert.Equal("dead", Json("status", "disk", "--json").GetProperty("state").GetString());
        Assert.Equal(1, Run("suspend", "disk").Status);
        Assert.Equal((0, "", "qcow2blk: disk: its server was dead; cleaned up after it\n"), Run("detach", "disk"));
        Assert.Empty(Directory.GetFileSystemEntries(_runtime));
        Assert.False(File.Exists(_socket));
    }

    [Fact]
    public void Killed_server_can_be_attached_again_at_once()
    {
        Process.GetProcessById(Attach()).Kill();
        Assert.True(SpinWait.SpinUntil(() => Json("list", "--json")[0].GetProperty("state").GetString() == "dead", 10_000));
        Attach();
        Assert.Equal("running", Assert.Single(Json("list", "--json").EnumerateArray()).GetProperty("state").GetString());
    }

    [Fact]
    public void Captive_command_gets_the_address_and_its_status_is_passed_on()
    {
        (var status, var output, _) =
            Run("attach", _image, "--run", "nbdinfo --size \"$uri\"; echo $name; test -S \"$unixsocket\" && exit 7");
        Assert.Equal((7, "67108864\ndisk\n"), (status, output));
        Assert.Equal("[]\n", Run("list", "--json").Output);
    }

    [Fact]
    public void Captive_command_dies_of_a_broken_pipe_as_it_would_from_a_shell() =>
        Assert.Equal("141\n", Run("attach", _image, "--run", "bash -c 'yes | head -1 >/dev/null; echo ${PIPESTATUS[0]}'").Output);

    [Fact]
    public void Nbdinfo_starts_a_server_by_socket_activation_and_nothing_is_left_of_it()
    {
        (var status, var output, var errors) = Command.Start("nbdinfo", _runtime, "--size", "[", Command.Path, "attach", _image, "]");
        Assert.True(status == 0, errors);
        Assert.Equal("67108864\n", output);
        Assert.True(SpinWait.SpinUntil(() => Directory.GetFileSystemEntries(_runtime).Length == 0, 10_000));
    }

    [Theory]
    [InlineData("--socket", "/tmp/s")]
    [InlineData("--listen", "localhost:0")]
    [InlineData("--run", "true")]
    public void Address_beside_an_activating_socket_is_a_usage_error(string option, string value)
    {
        var script = $"LISTEN_FDS=1 LISTEN_PID=$BASHPID exec '{Command.Path}' attach '{_image}' {option} {value} 3</dev/null";
        Assert.Equal(2, Command.Start("bash", _runtime, "-c", script).Status);
    }

    [Theory]
    [InlineData("SIGTERM")]
    [InlineData("SIGINT")]
    public void Foreground_server_detaches_cleanly_on_a_signal(string signal)
    {
        // A shell ignores SIGINT in what it puts into the background: python restores it.
        var script = $$"""
            import os, signal, subprocess, sys
            server = subprocess.Popen([{{Quoted(Command.Path)}}, "attach", {{Quoted(_image)}}, "--foreground", "--socket",
                {{Quoted(_socket)}}], stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            print(server.stdout.readline().decode(), end="")
            server.send_signal(signal.{{signal}})
            print(server.wait(30))
            """;
        (var status, var output, var errors) = Command.Start("python3", _runtime, "-c", script);
        Assert.True(status == 0, errors);
        Assert.Equal($"nbd+unix:///?socket={_socket}\n0\n", output);
        Assert.Empty(Directory.GetFileSystemEntries(_runtime));
        Qemu("check", "-q", _image);
    }

    [Fact]
    public void Eight_racing_attaches_of_a_read_only_image_all_get_names()
    {
        var script =
            $"for i in $(seq 8); do '{Command.Path}' attach '{_image}' --read-only --socket '{_folder}'/$i.sock 2>/dev/null & done; wait";
        Assert.Equal(8, Command.Start("bash", _runtime, "-c", script).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Equal(8, Json("list", "--json").GetArrayLength());
    }

    [Fact]
    public void Server_in_the_background_keeps_nothing_of_its_starter_open()
    {
        Assert.SkipUnless(Command.IsNative, "the runtime of a build that is not native keeps a copy of standard error open");
        // "$(…)" would wait for ever for the end of a pipe that the server holds.
        var script = $"x=$(timeout 20 '{Command.Path}' attach '{_image}' --socket '{_socket}' 2>&1 9>&1) && echo \"<$x>\"";
        Assert.Equal($"<nbd+unix:///?socket={_socket}>\n", Command.Start("bash", _runtime, "-c", script).Output);
        var pid = Json("list", "--json")[0].GetProperty("pid").GetInt32();
        Assert.Equal("/", new FileInfo($"/proc/{pid}/cwd").LinkTarget);
        for (var fd = 0; fd <= 2; fd++)
            Assert.Equal("/dev/null", new FileInfo($"/proc/{pid}/fd/{fd}").LinkTarget);
    }

    private int Attach()
    {
        var attached = Json("attach", _image, "--socket", _socket, "--json");
        Assert.Equal("disk", attached.GetProperty("name").GetString());
        return attached.GetProperty("pid").GetInt32();
    }

    private (int Status, string Output, string Errors) Run(params string[] arguments) => Command.RunIn(_runtime, arguments);

    private JsonElement Json(params string[] arguments)
    {
        (var status, var output, var errors) = Run(arguments);
        Assert.True(status == 0, errors);
        return JsonDocument.Parse(output).RootElement;
    }

    private void Client(string command)
    {
        (var status, var output, var errors) =
            Command.Start("qemu-io", _runtime, "-f", "raw", "-c", command, $"nbd+unix:///?socket={_socket}");
        Assert.True(status == 0 && !output.Contains("verification failed", StringComparison.Ordinal), output + errors);
    }

    private void Qemu(params string[] arguments)
    {
        (var status, var output, var errors) = Command.Start("qemu-img", _runtime, arguments);
        Assert.True(status == 0, output + errors);
    }

    private static string Quoted(string text) => $"'{text}'";
}
