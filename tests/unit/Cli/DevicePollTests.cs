using System;
using System.Diagnostics;
using System.Linq;
using System.Net.Sockets;
using System.Text.Json;
using Qcow2Blk.Cli;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Tests.Devices;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>Asking many servers: those that hang cost the others nothing.</summary>
public sealed class DevicePollTests : IDisposable
{
    private static readonly TimeSpan s_short = TimeSpan.FromMilliseconds(300), s_patience = TimeSpan.FromSeconds(30);

    private readonly StateFiles _files = new();

    public void Dispose() => _files.Dispose();

    private ControlServer Serve(string name) => new(_files.Registry.Directory.SocketOf(name),
        new FakeDevice(name, "/data/disk.qcow2"), _ => System.Threading.Tasks.Task.FromResult(Outcome.Done()), _ => { }, new NoLog());

    private Socket Hang(string name)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(_files.Registry.Directory.SocketOf(name)));
        socket.Listen(1);
        return socket;
    }

    private static string? StateOf(DeviceAnswer answer)
    {
        using var status = JsonDocument.Parse(answer.Status);
        return status.RootElement.TryGetProperty("state", out var state) ? state.GetString() : null;
    }

    [Fact]
    public void Servers_that_do_not_answer_are_silent_and_the_others_are_heard()
    {
        string[] silent = [.. Enumerable.Range(0, 20).Select(number => $"silent{number}")];
        var claims = silent.Append("good").Select(name => _files.Alive(_files.Device(name))).ToArray();
        var sockets = silent.Select(Hang).ToArray();
        using var server = Serve("good");
        _files.Dead(_files.Device("gone"));
        var poll = new DevicePoll(_files.Registry);
        var started = Stopwatch.StartNew();

        var answers = poll.Ask(_files.Registry.List(), TimeSpan.FromSeconds(2));

        // All of them together: the patience, not that of each of them one after the other.
        Assert.InRange(started.Elapsed, TimeSpan.FromSeconds(1.9), TimeSpan.FromSeconds(8));
        Assert.Equal(["gone", "good", .. silent.Order(StringComparer.Ordinal)], answers.Select(answer => answer.Record.Name));
        Assert.Equal("dead", StateOf(answers[0]));
        Assert.Null(answers[1].Refusal);
        Assert.Contains("\"chain\"", System.Text.Encoding.UTF8.GetString(answers[1].Status.Span), StringComparison.Ordinal);
        Assert.All(answers.Skip(2), answer => Assert.Equal("silent", StateOf(answer)));
        Array.ForEach(claims, claim => claim.Dispose());
        Array.ForEach(sockets, socket => socket.Dispose());
    }

    [Fact]
    public void Silent_server_is_asked_once_until_it_answers()
    {
        using var claim = _files.Alive(_files.Device("disk"));
        using var socket = Hang("disk");
        var poll = new DevicePoll(_files.Registry);

        for (var i = 0; i < 3; i++)
            Assert.Equal("silent", StateOf(poll.Ask(_files.Registry.List(), s_short)[0]));

        using var first = socket.Accept();
        Assert.False(socket.Poll(s_short, SelectMode.SelectRead), "a second connection came");
        first.Send("{\"ok\":true,\"status\":{\"name\":\"disk\",\"state\":\"late\"}}\n"u8);
        Assert.Equal("late", StateOf(poll.Ask(_files.Registry.List(), s_patience)[0]));
    }

    [Fact]
    public void Server_that_refuses_is_silent_and_says_why()
    {
        using var claim = _files.Alive(_files.Device("disk"));
        using var socket = Hang("disk");
        var poll = new DevicePoll(_files.Registry);
        _ = poll.Ask(_files.Registry.List(), s_short);
        using var connection = socket.Accept();
        connection.Send("{\"ok\":false,\"kind\":\"busy\",\"what\":\"no control connection\",\"why\":\"16 others are open\"}\n"u8);

        var answer = poll.Ask(_files.Registry.List(), s_patience)[0];

        Assert.Equal("silent", StateOf(answer));
        Assert.Equal((OutcomeKind.Busy, "16 others are open"), (answer.Refusal!.Kind, answer.Refusal.Why));
    }
}
