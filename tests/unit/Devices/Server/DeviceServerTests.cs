using System;
using System.IO;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class DeviceServerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("q2b-server-").FullName;
    private readonly RuntimeDirectory _runtime;
    private readonly DeviceRegistry _registry;

    public DeviceServerTests()
    {
        _runtime = RuntimeDirectory.At(Path.Combine(_folder, "run"));
        _registry = new DeviceRegistry(_runtime);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private AttachOptions Options(string image = "/data/disk.qcow2") => new() { Image = image, SocketPath = "/run/x.sock" };

    private DeviceServer Start(FakeDevice device, AttachOptions? options = null) =>
        DeviceServer.Start(options ?? Options(device.ImagePath), new FakeFactory((_, _) => device), _registry, new NoLog());

    private ControlReply Ask(string name, ControlVerb verb, bool force = false, bool allowShrink = false, TimeSpan? lockTimeout = null)
    {
        using var client = ControlClient.TryConnect(_runtime, name)!;
        return client.Ask(new ControlRequest(verb, TimeSpan.FromSeconds(7), force, allowShrink, LockTimeout: lockTimeout));
    }

    [Fact]
    public void Server_is_found_with_its_uri_and_gone_without_a_trace_after_dispose()
    {
        var pidFile = Path.Combine(_folder, "pid");
        using (Start(new FakeDevice("disk", "/data/disk.qcow2"), Options() with { PidFile = pidFile }))
        {
            var entry = Assert.Single(_registry.List());
            Assert.True(entry.Alive);
            Assert.Equal("nbd+unix:///?socket=/run/disk.nbd", entry.Record.Uri);
            Assert.Equal($"{Environment.ProcessId}\n", File.ReadAllText(pidFile));
        }

        Assert.Empty(Directory.GetFileSystemEntries(_runtime.Path));
        Assert.False(File.Exists(pidFile));
    }

    [Fact]
    public void Only_the_owner_can_reach_the_control_socket()
    {
        using var server = Start(new FakeDevice("disk", "/data/disk.qcow2"));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_runtime.SocketOf("disk")));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(_runtime.Path));
    }

    [Fact]
    public void Runtime_directory_that_others_can_write_is_refused()
    {
        Directory.CreateDirectory(_runtime.Path);
        File.SetUnixFileMode(_runtime.Path, (UnixFileMode)0b111_111_111);
        var error = Assert.Throws<OutcomeException>(() => Start(new FakeDevice("disk", "/data/disk.qcow2")));
        Assert.Contains("mode 777", error.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Server_whose_state_file_was_removed_by_hand_takes_nothing_from_the_one_that_has_its_name_now()
    {
        var options = Options() with { Name = "disk" };
        var first = Start(new FakeDevice("disk", "/data/disk.qcow2"), options);
        Directory.Delete(_runtime.Path, recursive: true);
        using var second = Start(new FakeDevice("disk", "/data/disk.qcow2"), options);
        File.WriteAllText(_runtime.LogOf("disk"), "what its users wrote");
        first.Dispose();
        Assert.Equal(["disk.json", "disk.log", "disk.sock"], Directory.GetFileSystemEntries(_runtime.Path).Select(Path.GetFileName)
            .Order());
        Assert.True(Ask("disk", ControlVerb.Hello).Result.Succeeded);
    }

    [Fact]
    public void Pid_file_that_cannot_be_written_leaves_nothing_behind()
    {
        var device = new FakeDevice("disk", "/data/disk.qcow2");
        var pidFile = Path.Combine(_folder, "pid");
        File.CreateSymbolicLink(pidFile, Path.Combine(_folder, "elsewhere"));
        var error = Assert.Throws<OutcomeException>(() => Start(device, Options() with { PidFile = pidFile }));
        Assert.Contains("symbolic link", error.Why, StringComparison.Ordinal);
        Assert.Equal((DeviceState.Detaching, 1), (device.State, device.Disposed));
        Assert.Empty(Directory.GetFileSystemEntries(_runtime.Path));
        Assert.False(File.Exists(Path.Combine(_folder, "elsewhere")));
        Assert.DoesNotContain(File.ReadLines("/proc/net/unix"), line => line.EndsWith(_runtime.SocketOf("disk"), StringComparison.Ordinal));
    }

    [Fact]
    public void Results_cross_the_control_socket_unchanged()
    {
        var device = new FakeDevice("disk", "/data/disk.qcow2");
        using var server = Start(device);
        Assert.Equal(("running", Outcome.Done()), (Ask("disk", ControlVerb.Hello).State, Ask("disk", ControlVerb.Hello).Result));
        Assert.Equal(Outcome.Done(), Ask("disk", ControlVerb.Suspend).Result);
        Assert.Equal(Outcome.Done("already suspended"), Ask("disk", ControlVerb.Suspend).Result);
        var refused = Ask("disk", ControlVerb.Resume, allowShrink: true);
        Assert.Equal(device.Resume(true, TimeSpan.FromSeconds(7)), refused.Result);
        Assert.Equal("suspended", refused.State);
        Assert.Equal((true, TimeSpan.FromSeconds(7), null), device.LastResume);
        Assert.Equal(refused.Result, Ask("disk", ControlVerb.Resume, lockTimeout: TimeSpan.FromSeconds(9)).Result);
        Assert.Equal((false, TimeSpan.FromSeconds(7), TimeSpan.FromSeconds(9)), device.LastResume);
        Assert.Equal("{\"name\":\"disk\",\"chain\":[]}", Encoding.UTF8.GetString(Ask("disk", ControlVerb.Status).Status.Span));
    }

    [Fact]
    public async Task Status_is_answered_while_a_suspend_is_waiting()
    {
        var hold = new TaskCompletionSource();
        using var server = Start(new FakeDevice("disk", "/data/disk.qcow2") { HoldSuspend = hold.Task });
        var suspend = Task.Run(() => Ask("disk", ControlVerb.Suspend), TestContext.Current.CancellationToken);
        Assert.True(Ask("disk", ControlVerb.Status).Result.Succeeded);
        Assert.False(suspend.IsCompleted);
        hold.SetResult();
        Assert.Equal("suspended", (await suspend).State);
    }

    [Fact]
    public async Task Detach_command_ends_the_server_and_the_connection_closes_last()
    {
        var server = Start(new FakeDevice("disk", "/data/disk.qcow2"));
        using var client = ControlClient.TryConnect(_runtime, "disk")!;
        var main = Task.Run(
            () =>
            {
                server.WaitForEnd();
                server.Finish();
                server.Dispose();
            },
            TestContext.Current.CancellationToken);
        Assert.True(client.Ask(new ControlRequest(ControlVerb.Detach, TimeSpan.FromSeconds(5), false, false)).Result.Succeeded);
        Assert.True(client.WaitForEnd(TimeSpan.FromSeconds(5)));
        Assert.Empty(Directory.GetFileSystemEntries(_runtime.Path));
        await main;
    }

    [Fact]
    public void Detach_is_the_last_that_a_watching_connection_hears_and_nothing_is_left_by_then()
    {
        var server = Start(new FakeDevice("disk", "/data/disk.qcow2"));
        using var alarm = new Alarm();
        using var client = WatchClient.TryConnect(_runtime, "disk", alarm)!;
        Assert.Equal(WatchResult.Event, client.Begin());
        Assert.True(Ask("disk", ControlVerb.Detach).Result.Succeeded);
        server.Dispose();

        var kinds = new System.Collections.Generic.List<WatchKind>();
        while (client.Next(out var what) == WatchResult.Event)
            kinds.Add(what.Kind);

        Assert.Equal([WatchKind.State, WatchKind.State, WatchKind.Ended], kinds);
        Assert.Empty(Directory.GetFileSystemEntries(_runtime.Path));
    }

    [Fact]
    public void Refused_detach_leaves_the_device_running_until_it_is_forced()
    {
        var refusal = Outcome.Refused(OutcomeKind.Failed, "cannot detach disk", "flush failed: input/output error", "try --force");
        var device = new FakeDevice("disk", "/data/disk.qcow2") { RefuseDetach = refusal };
        using var server = Start(device);
        Assert.Equal(refusal, Ask("disk", ControlVerb.Detach).Result);
        Assert.Equal("running", Ask("disk", ControlVerb.Hello).State);
        Assert.True(Ask("disk", ControlVerb.Detach, force: true).Result.Succeeded);
    }

    [Fact]
    public void Failing_open_leaves_no_name_behind()
    {
        var factory = new FakeFactory((_, _) => throw new OutcomeException(OutcomeKind.Busy, "cannot attach", "image is in use"));
        Assert.Throws<OutcomeException>(() => DeviceServer.Start(Options(), factory, _registry, new NoLog()));
        Assert.Empty(Directory.GetFileSystemEntries(_runtime.Path));
    }

    [Fact]
    public void Exception_in_a_command_is_answered_and_the_server_lives_on()
    {
        var device = new FakeDevice("disk", "/data/disk.qcow2");
        using var server = Start(device);
        device.State = DeviceState.Failed;
        var reply = Ask("disk", ControlVerb.Status);
        Assert.Equal(OutcomeKind.Failed, reply.Result.Kind);
        Assert.Contains("status of a failed fake", reply.Result.Why, StringComparison.Ordinal);
        Assert.Equal("failed", Ask("disk", ControlVerb.Hello).State);
    }

    [Theory]
    [InlineData("not json", "invalid")]
    [InlineData("[]", "a request is a JSON object")]
    [InlineData("{}", "verb is not one of")]
    [InlineData("{\"verb\":\"explode\"}", "verb is not one of")]
    [InlineData("{\"verb\":7}", "")]
    [InlineData("{\"verb\":\"hello\",\"frobnicate\":1}", "frobnicate")]
    [InlineData("{\"verb\":\"suspend\",\"timeout\":-1}", "timeout")]
    [InlineData("{\"verb\":\"suspend\",\"timeout\":1e300}", "timeout")]
    [InlineData("{\"verb\":\"resume\",\"lock-timeout\":3601}", "lock-timeout")]
    [InlineData("{\"verb\":\"hello\"} {\"verb\":\"hello\"}", "")]
    public void Malformed_requests_get_a_usage_error_and_the_connection_goes_on(string request, string why)
    {
        using var server = Start(new FakeDevice("disk", "/data/disk.qcow2"));
        var fd = UnixSocket.Connect(_runtime.SocketOf("disk"));
        var reader = new LineReader(fd, 1 << 16);
        Unistd.WriteAll(fd, Encoding.UTF8.GetBytes(request + "\n{\"verb\":\"hello\"}\n"));
        Assert.Equal(LineReader.Outcome.Line, reader.Next(5000, out var first));
        var refused = ControlReply.Parse(first);
        Assert.Equal(OutcomeKind.Invalid, refused.Result.Kind);
        Assert.Contains(why, refused.Result.Why, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(LineReader.Outcome.Line, reader.Next(5000, out var second));
        Assert.True(ControlReply.Parse(second).Result.Succeeded);
        Unistd.Close(fd);
    }

    [Fact]
    public void Endless_line_is_answered_and_cut_off()
    {
        using var server = Start(new FakeDevice("disk", "/data/disk.qcow2"));
        var fd = UnixSocket.Connect(_runtime.SocketOf("disk"));
        var reader = new LineReader(fd, 1 << 16);
        Unistd.WriteAll(fd, new byte[ControlRequest.MaxBytes]);
        Assert.Equal(LineReader.Outcome.Line, reader.Next(5000, out var line));
        Assert.Contains("longer than", ControlReply.Parse(line).Result.Why, StringComparison.Ordinal);
        Assert.NotEqual(LineReader.Outcome.TimedOut, reader.Next(5000, out _));
        Unistd.Close(fd);
    }

    [Fact]
    public void Seventeenth_connection_is_told_to_come_later_and_a_freed_place_is_used_again()
    {
        using var server = Start(new FakeDevice("disk", "/data/disk.qcow2"));
        var open = new ControlClient[ControlServer.MaxConnections];
        for (var i = 0; i < open.Length; i++)
        {
            open[i] = ControlClient.TryConnect(_runtime, "disk")!;
            Assert.True(open[i].Ask(new ControlRequest(ControlVerb.Hello, TimeSpan.Zero, false, false)).Result.Succeeded);
        }

        Assert.Equal(OutcomeKind.Busy, Ask("disk", ControlVerb.Hello).Result.Kind);
        open[3].Dispose();
        Assert.True(SpinWait.SpinUntil(() => Ask("disk", ControlVerb.Hello).Result.Succeeded, 5000));
        foreach (var client in open[..3])
            client.Dispose();
        foreach (var client in open[4..])
            client.Dispose();
    }
}
