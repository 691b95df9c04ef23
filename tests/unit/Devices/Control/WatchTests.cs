using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Control;

/// <summary>Connections that watch a device hear what happens to it, and cost nobody anything if they do not listen.</summary>
public sealed class WatchTests : IDisposable
{
    private const string Hello = "{\"verb\":\"hello\"}\n", Watch = "{\"verb\":\"watch\"}\n";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30), s_short = TimeSpan.FromMilliseconds(50);

    private readonly TempDirectory _directory = new();
    private readonly List<Socket> _clients = [];
    private readonly Dictionary<Socket, LineReader> _readers = [];
    private readonly FakeDevice _device = new("disk", "/data/disk.qcow2");
    private ControlServer? _server;

    public void Dispose()
    {
        _server?.Dispose();
        foreach (var client in _clients)
            client.Dispose();
        _directory.Dispose();
    }

    private void Serve(ControlLimits? limits = null) => _server = new ControlServer(_directory.File("control"), _device,
        request => Task.FromResult(Outcome.Done(request.Verb.ToString())), _ => { }, new NoLog(), limits);

    private Socket Connect(string said)
    {
        var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _clients.Add(client);
        client.ReceiveTimeout = (int)s_patience.TotalMilliseconds;
        client.Connect(new UnixDomainSocketEndPoint(_directory.File("control")));
        client.Send(Encoding.UTF8.GetBytes(said));
        return client;
    }

    /// <summary>A client whose watch has begun: it has been told the present state.</summary>
    private Socket Watching()
    {
        var client = Connect(Watch);
        Assert.True(ControlReply.Parse(Encoding.UTF8.GetBytes(ReadLine(client))).Result.Succeeded);
        Assert.Equal(WatchKind.State, Next(client).Kind);
        return client;
    }

    /// <returns>empty at the end</returns>
    private string ReadLine(Socket client)
    {
        if (!_readers.TryGetValue(client, out var reader))
            _readers[client] = reader = new LineReader((int)client.Handle, ControlReply.MaxBytes);
        var result = reader.Next((int)s_patience.TotalMilliseconds, out var line);
        Assert.NotEqual(LineReader.Outcome.TimedOut, result);
        return Encoding.UTF8.GetString(line);
    }

    private WatchEvent Next(Socket client) => WatchEvent.Parse(Encoding.UTF8.GetBytes(ReadLine(client)))!.Value;

    private static long ReadToEnd(Socket client)
    {
        var piece = new byte[65536];
        long total = 0;
        for (int count; (count = client.Receive(piece)) > 0;)
            total += count;
        return total;
    }

    /// <returns>the answer; empty if there is no place for the connection</returns>
    private string Ask(string request)
    {
        try
        {
            using var client = Connect(request);
            return ReadLine(client);
        }
        catch (SocketException)
        {
            return "";
        }
    }

    private static WatchEvent State(DeviceState state) => new(WatchKind.State, state, 0, "");

    [Fact]
    public void First_event_tells_the_present_and_the_next_ones_what_changes_in_order()
    {
        _device.State = DeviceState.Suspended;
        Serve();
        var client = Connect(Watch);
        Assert.Equal("{\"ok\":true,\"state\":\"suspended\"}", ReadLine(client));
        Assert.Equal("{\"event\":\"state\",\"state\":\"suspended\"}", ReadLine(client));

        _device.State = DeviceState.Running;
        _device.State = DeviceState.Suspending;
        _device.State = DeviceState.Suspended;

        Assert.Equal([State(DeviceState.Running), State(DeviceState.Suspending), State(DeviceState.Suspended)],
            [Next(client), Next(client), Next(client)]);
    }

    [Fact]
    public void Requests_without_space_errors_and_corruption_are_told_and_why_writing_stopped_is_told_once()
    {
        Serve();
        var client = Watching();

        _device.Waiting = 3;
        _device.Events.Wake();
        Assert.Equal(new WatchEvent(WatchKind.NoSpace, DeviceState.Running, 3, ""), Next(client));
        _device.Waiting = 0;
        _device.Events.Wake();
        Assert.Equal(new WatchEvent(WatchKind.NoSpace, DeviceState.Running, 0, ""), Next(client));
        _device.Events.Failed("cannot punch a hole\n");
        Assert.Equal(new WatchEvent(WatchKind.Error, DeviceState.Running, 0, "cannot punch a hole\\n"), Next(client));
        _device.WriteError = "disk.qcow2 is corrupt";
        _device.Events.Failed("disk.qcow2 is corrupt");
        Assert.Equal(new WatchEvent(WatchKind.Corrupt, DeviceState.Running, 0, "disk.qcow2 is corrupt"), Next(client));
        _device.State = DeviceState.Failed;
        Assert.Equal(State(DeviceState.Failed), Next(client));
    }

    [Fact]
    public void Who_comes_late_is_told_what_is_wrong_after_the_state()
    {
        (_device.Waiting, _device.WriteError) = (2, "disk.qcow2 is corrupt");
        Serve();
        var client = Watching();
        Assert.Equal([WatchKind.Corrupt, WatchKind.NoSpace], [Next(client).Kind, Next(client).Kind]);
    }

    [Fact]
    public void Ended_is_the_last_word_to_everybody_who_watches()
    {
        Serve();
        var clients = new[] { Watching(), Watching(), Watching() };
        _device.State = DeviceState.Detaching;
        _device.Events.End();
        _server!.Dispose();

        foreach (var client in clients)
        {
            Assert.Equal([WatchKind.State, WatchKind.Ended], [Next(client).Kind, Next(client).Kind]);
            Assert.Equal(0, ReadToEnd(client));
        }
    }

    [Fact]
    public void Device_that_is_handed_over_has_not_ended()
    {
        Serve();
        var client = Watching();
        _device.State = DeviceState.Detaching;
        _server!.Dispose();
        Assert.Equal(State(DeviceState.Detaching), Next(client));
        Assert.Equal(0, ReadToEnd(client));
    }

    [Fact]
    public void Watchers_keep_no_command_out_and_the_one_too_many_is_refused()
    {
        Serve(new ControlLimits { Connections = 1, Watchers = 2 });
        var clients = new[] { Watching(), Watching() };

        var third = Connect(Watch);
        Assert.Contains("busy", ReadLine(third), StringComparison.Ordinal);
        third.Send(Encoding.UTF8.GetBytes(Hello));
        Assert.Contains("Hello", ReadLine(third), StringComparison.Ordinal);
        third.Dispose();

        Assert.True(SpinWait.SpinUntil(() => Ask(Hello).Contains("Hello", StringComparison.Ordinal), s_patience));
        clients[0].Dispose();
        Assert.True(SpinWait.SpinUntil(() => Ask(Watch).Contains("true", StringComparison.Ordinal), s_patience));
    }

    [Fact]
    public void Watcher_may_hear_nothing_for_longer_than_others_may_be_idle()
    {
        Serve(new ControlLimits { Idle = s_short });
        var client = Watching();
        Thread.Sleep(s_short * 4);
        _device.State = DeviceState.Suspended;
        Assert.Equal(State(DeviceState.Suspended), Next(client));
    }

    [Theory]
    [InlineData("")]
    [InlineData(Hello)]
    [InlineData("\0\0\0garbage")]
    public void Watcher_that_says_something_is_told_that_it_may_not_and_cut_off(string alsoSaid)
    {
        Serve();
        var client = Connect(Watch + alsoSaid);
        Assert.Contains("true", ReadLine(client), StringComparison.Ordinal);
        if (alsoSaid.Length == 0)
        {
            Assert.Equal(WatchKind.State, Next(client).Kind);
            client.Send("x"u8);
        }

        var line = ReadLine(client);
        while (line.Contains("\"event\"", StringComparison.Ordinal))
            line = ReadLine(client);
        Assert.Equal(OutcomeKind.Invalid, ControlReply.Parse(Encoding.UTF8.GetBytes(line)).Result.Kind);
        Assert.Equal(0, ReadToEnd(client));
        Assert.Contains("Hello", Ask(Hello), StringComparison.Ordinal);
    }

    [Fact]
    public void Watcher_that_does_not_read_is_cut_off_after_a_time_and_the_others_hear_everything()
    {
        Serve(new ControlLimits { Reply = TimeSpan.FromSeconds(1), ReplyBytes = 4096 });
        var silent = Watching();
        var other = Watching();
        var message = new string('x', WatchEvent.MaxMessageLength);
        const int many = 500;

        for (var i = 0; i < many; i++)
        {
            _device.Events.Failed(message);
            Assert.Equal(WatchKind.Error, Next(other).Kind);
        }

        Thread.Sleep(TimeSpan.FromSeconds(3));
        Assert.InRange(ReadToEnd(silent), 1, (long)many * WatchEvent.MaxMessageLength / 2);
        Assert.Contains("Hello", Ask(Hello), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Slow_reader_misses_what_later_events_supersede_and_never_the_last_of_a_kind()
    {
        using var watch = _device.Events.Watch();
        _device.Waiting = 5;
        _device.Events.Changed();
        for (var i = 0; i < 1000; i++)
            _device.State = i % 2 == 0 ? DeviceState.Suspended : DeviceState.Running;
        _device.State = DeviceState.Detaching;

        var taken = await watch.TakeAsync();

        Assert.Equal(DeviceWatch.MaxPending, taken.Count);
        Assert.Equal(State(DeviceState.Detaching), taken[^1]);
        Assert.Contains(new WatchEvent(WatchKind.NoSpace, DeviceState.Running, 5, ""), taken);
    }

    [Fact]
    public void Device_that_nobody_watches_is_not_looked_at()
    {
        var looks = 0;
        using var events = new DeviceEvents(() =>
        {
            Interlocked.Increment(ref looks);
            return default;
        });
        events.Changed();
        events.Wake();
        events.Failed("no one hears it");
        events.Watch().Dispose();
        var before = looks;
        events.Changed();
        events.Wake();
        Assert.Equal((1, 1), (before, looks));
    }

    [Fact]
    public async Task Errors_from_before_a_watch_are_not_told_in_it()
    {
        var events = _device.Events;
        events.Watch().Dispose();
        events.Failed("old");
        using var watch = events.Watch();
        events.Failed("new");
        var taken = new List<WatchEvent>();
        while (taken.Count < 2)
            taken.AddRange(await watch.TakeAsync());
        Assert.Equal(["", "new"], taken.Select(what => what.Message));
    }
}
