using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Metrics;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Control;

/// <summary>Whatever one client of the control socket does or leaves undone, the others are served and the server ends.</summary>
public sealed class ControlServerTests : IDisposable
{
    private const string Hello = "{\"verb\":\"hello\"}\n", Suspend = "{\"verb\":\"suspend\"}\n", Status = "{\"verb\":\"status\"}\n";

    // More than the kernel keeps of what a client has not read, whatever it adds to the limit.
    private const int LongName = 1_000_000;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30), s_short = TimeSpan.FromMilliseconds(50);

    private readonly TempDirectory _directory = new();
    private readonly List<Socket> _clients = [];
    private readonly TaskCompletionSource _hold = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<ControlVerb> _unheard = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ControlServer? _server;
    private int _began;

    public void Dispose()
    {
        _hold.TrySetResult();
        _server?.Dispose();
        foreach (var client in _clients)
            client.Dispose();
        _directory.Dispose();
    }

    /// <summary>Suspends wait until they are let go.</summary>
    private void Serve(ControlLimits? limits = null, string name = "disk") => _server = new ControlServer(
        _directory.File("control"), new FakeDevice(name, "/data/disk.qcow2"), ExecuteAsync,
        request => _unheard.TrySetResult(request.Verb), new NoLog(), limits);

    private async Task<Outcome> ExecuteAsync(ControlRequest request)
    {
        if (request.Verb == ControlVerb.Suspend)
        {
            Interlocked.Increment(ref _began);
            await _hold.Task;
        }

        return Outcome.Done(request.Verb.ToString());
    }

    private Socket Connect(string said = "")
    {
        var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _clients.Add(client);
        client.ReceiveTimeout = (int)s_patience.TotalMilliseconds;
        client.Connect(new UnixDomainSocketEndPoint(_directory.File("control")));
        client.Send(Encoding.UTF8.GetBytes(said));
        return client;
    }

    /// <summary>All that comes until a line or the connection ends.</summary>
    private static string ReadLine(Socket client)
    {
        var line = new StringBuilder();
        var piece = new byte[1];
        while (client.Receive(piece) == 1 && piece[0] != '\n')
            line.Append((char)piece[0]);
        return line.ToString();
    }

    private static long ReadToEnd(Socket client)
    {
        var piece = new byte[65536];
        long total = 0;
        for (int count; (count = client.Receive(piece)) > 0;)
            total += count;
        return total;
    }

    private static string? NoteOf(string reply) => ControlReply.Parse(Encoding.UTF8.GetBytes(reply)).Result.Note;

    private string? Ask(string request) => NoteOf(ReadLine(Connect(request)));

    private static int Threads() => Directory.GetDirectories("/proc/self/task").Length;

    [Fact]
    public void Hundred_connections_with_a_command_each_take_no_hundred_threads()
    {
        const int many = 100;
        Serve(new ControlLimits { Connections = many + 1 });
        var before = Threads();

        var clients = Enumerable.Range(0, many).Select(_ => Connect(Suspend)).ToArray();

        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref _began) == many, s_patience), "not all commands began");
        Assert.True(SpinWait.SpinUntil(() => Threads() < before + (many / 2), s_patience), $"{before} threads before, {Threads()} now");
        Assert.Equal("Hello", Ask(Hello));
        _hold.SetResult();
        Assert.All(clients, client => Assert.Equal("Suspend", NoteOf(ReadLine(client))));
    }

    [Fact]
    public void Clients_that_stall_keep_none_waiting()
    {
        Serve();
        Connect();
        Connect("{\"verb\":\"sta");
        Connect(Suspend);

        Assert.Equal("Hello", Ask(Hello));
        Assert.Equal("Status", Ask(Status));
    }

    [Fact]
    public async Task Client_that_reads_no_reply_is_dropped_after_a_time_and_the_others_are_served()
    {
        Serve(new ControlLimits { Reply = s_short }, new string('x', LongName));
        var silent = Connect(Status);

        Assert.Equal("Hello", Ask(Hello));

        Assert.Equal(ControlVerb.Status, await _unheard.Task.WaitAsync(s_patience, TestContext.Current.CancellationToken));
        Assert.InRange(ReadToEnd(silent), 1, LongName - 1);
    }

    [Fact]
    public void Client_that_reads_slowly_gets_the_whole_reply()
    {
        Serve(new ControlLimits { Reply = s_patience }, new string('x', LongName));
        var slow = Connect(Status);
        Assert.Equal("Hello", Ask(Hello));

        Assert.InRange(ReadLine(slow).Length, LongName, ControlReply.MaxBytes);
    }

    [Fact]
    public void Client_that_dies_in_the_middle_of_a_line_gives_its_place_back()
    {
        Serve(new ControlLimits { Connections = 1 });
        using (var dying = Connect("{\"verb\":\"susp"))
            Assert.Contains("busy", ReadLine(Connect(Hello)), StringComparison.Ordinal);

        Assert.True(SpinWait.SpinUntil(() => Ask(Hello) == "Hello", s_patience));
        Assert.Equal(0, _began);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{\"verb\":\"hel")]
    public void Client_that_does_not_end_its_line_is_dropped_after_a_time(string said)
    {
        Serve(new ControlLimits { Idle = s_short });
        Assert.Equal(0, ReadToEnd(Connect(said)));
    }

    [Fact]
    public void Metrics_are_those_of_the_status_that_the_same_server_gives()
    {
        Serve();
        var client = Connect(Status + "{\"verb\":\"metrics\"}\n");
        var status = ControlReply.Parse(Encoding.UTF8.GetBytes(ReadLine(client))).Status;

        using var reply = JsonDocument.Parse(ReadLine(client));

        var metrics = reply.RootElement.GetProperty("metrics").GetString();
        Assert.Equal(OpenMetrics.Format([status]), metrics);
        Assert.Contains("qcow2blk_device_info{name=\"disk\"", metrics, StringComparison.Ordinal);
        Assert.False(reply.RootElement.TryGetProperty("status", out _));
    }

    [Fact]
    public void Client_may_wait_for_a_command_longer_than_it_may_be_idle()
    {
        Serve(new ControlLimits { Idle = s_short });
        var client = Connect(Suspend);
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref _began) == 1, s_patience));
        Thread.Sleep(s_short * 3);

        _hold.SetResult();

        Assert.Equal("Suspend", NoteOf(ReadLine(client)));
    }

    [Fact]
    public void Requests_of_a_connection_are_answered_in_order()
    {
        Serve();
        var client = Connect(Hello + Suspend + Status + Hello);

        Assert.Equal("Hello", NoteOf(ReadLine(client)));
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref _began) == 1, s_patience));
        Assert.Equal(0, client.Available);
        _hold.SetResult();

        Assert.Equal(["Suspend", "Status", "Hello"], Enumerable.Range(0, 3).Select(_ => NoteOf(ReadLine(client))));
    }

    [Fact]
    public async Task End_waits_neither_for_clients_nor_for_commands_and_closes_every_connection()
    {
        Serve(new ControlLimits { End = s_short }, new string('x', LongName));
        var clients = new[] { Connect(), Connect("{\"verb\":\"hel"), Connect(Suspend), Connect(Status) };
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref _began) == 1, s_patience));
        Assert.True(SpinWait.SpinUntil(() => clients[3].Available > 0, s_patience));

        var end = Task.Run(_server!.Dispose, TestContext.Current.CancellationToken);
        await end.WaitAsync(s_patience, TestContext.Current.CancellationToken);

        Assert.Equal([0, 0, 0], clients[..3].Select(ReadToEnd));
        Assert.InRange(ReadToEnd(clients[3]), 1, LongName - 1);
        Assert.Throws<SocketException>(() => Connect());
    }
}
