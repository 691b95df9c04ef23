using System;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Exports.Nbd;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>
/// Clients that stop in the middle hold no more than the server allows all of them, and not for ever. Seconds are looks of the
/// server at its clients, which these tests tell it to take.
/// </summary>
public sealed class StalledClientTests : IDisposable
{
    private const int MiB = 1 << 20;
    private const int DiskBytes = 64 * MiB;

    // What a connection has beside its requests: the chunk it receives into.
    private const long ChunkBytes = 256 << 10;

    private static readonly ClientLimits s_limits = new() { LookMilliseconds = -1, MemoryBytes = 16 * MiB };

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Many_half_sent_payloads_hold_no_more_than_the_budget_while_others_work_and_make_room_in_the_end(int loops)
    {
        const int stalling = 24;
        using var scene = new ServedScene(OpenAsync, loops, s_limits);
        var stalled = Enumerable.Range(0, stalling).Select(_ => scene.Connect()).ToArray();
        foreach (var client in stalled)
            StartSending(client, 8 * MiB, 8 * MiB - 1);
        ServedScene.Until(() => scene.Server.Memory.IsWanted, "the memory is taken");

        // Small requests have memory of their own.
        var good = scene.Connect();
        var payload = new byte[MiB];
        for (var i = 0; i < 20; i++)
        {
            Assert.Equal(0u, good.Do(NbdClient.Write, 0, MiB, payload: payload));
            Assert.Equal(0u, good.Do(NbdClient.Read, 0, MiB));
        }

        var most = s_limits.MemoryBytes + ((stalling + 1) * (MemoryShare.OwnBytes + ChunkBytes));
        Assert.InRange(scene.Server.Memory.Used, MiB, s_limits.MemoryBytes);
        Assert.InRange(scene.MappedBytes, MiB, most);

        // Those that hold it go, a few at a time; the next get it, and go.
        ServedScene.Until(() => LookOnce(scene) && scene.Server.Connections == 1, "the stalled are sent away");
        Assert.Equal(0u, good.Do(NbdClient.Write, 0, 8 * MiB, payload: new byte[8 * MiB]));
        ServedScene.Until(() => scene.Server.Memory.Used == 0, "all of it is free");
        Assert.All(scene.Reports, report => Assert.Contains("stopped in the middle of a request", report, StringComparison.Ordinal));
        Assert.Equal(stalling, scene.Reports.Count);
    }

    [Fact]
    public void Replies_that_nobody_reads_hold_no_more_than_the_budget_and_not_for_ever()
    {
        const int stalling = 12;
        using var scene = new ServedScene(OpenAsync, 2, s_limits);
        var good = scene.Connect();
        Assert.Equal(0u, good.Do(NbdClient.Write, 0, MiB, payload: new byte[MiB]));
        var stalled = Enumerable.Range(0, stalling).Select(_ => scene.Connect()).ToArray();
        foreach (var client in stalled)
        {
            for (var i = 0; i < 4; i++)
                client.Begin(NbdClient.Read, 0, 8 * MiB);
        }

        ServedScene.Until(() => scene.Server.Memory.IsWanted, "the memory is taken");
        for (var i = 0; i < 20; i++)
            Assert.Equal(0u, good.Do(NbdClient.Read, 0, MiB));
        Assert.InRange(scene.MappedBytes, MiB, s_limits.MemoryBytes + ((stalling + 1) * (MemoryShare.OwnBytes + ChunkBytes)));

        ServedScene.Until(() => LookOnce(scene) && scene.Server.Connections == 1, "the stalled are sent away");
        Assert.Equal(0u, good.Do(NbdClient.Read, 0, 8 * MiB));
        Assert.All(scene.Reports, report => Assert.Contains("did not read its replies", report, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("header", 30)]
    [InlineData("small payload", 30)]
    [InlineData("large payload", 30)]
    [InlineData("refused payload", 30)]
    [InlineData("handshake", 10)]
    [InlineData("option", 10)]
    public void Client_that_stops_in_the_middle_is_sent_away_in_time_and_no_earlier(string where, int seconds)
    {
        using var scene = new ServedScene(OpenAsync, limits: s_limits);
        using var early = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        if (where is "handshake" or "option")
        {
            early.Connect(new UnixDomainSocketEndPoint(scene.Socket));
            early.Send(where == "option" ? Wire.Join(Wire.FixedNewstyle, Wire.Go("disk")[..11]) : []);
            ServedScene.Until(() => scene.Server.Connections == 1, "the client is served");
            scene.Settle();
        }
        else
        {
            var client = scene.Connect();
            client.Send(where switch
            {
                "header" => Wire.Request(0, 1, 1, 0, 4096)[..13],
                "small payload" => Wire.Join(Wire.Request(0, 1, 1, 0, 4096), new byte[4095]),
                "large payload" => Wire.Join(Wire.Request(0, 1, 1, 0, MiB), new byte[70000]),
                _ => Wire.Join(Wire.Request(0, 1, 1, 0, 33 * MiB), new byte[4095]),
            });
            scene.Receive(client);
            scene.Look(1);
        }

        scene.Look(seconds - 1);
        Assert.Empty(scene.Reports);
        Assert.Equal(1, scene.Server.Connections);

        scene.Look(1);

        Assert.Single(scene.Reports);
        ServedScene.Until(() => scene.Server.Connections == 0, "the connection ends");
    }

    [Fact]
    public void Client_that_sends_a_byte_now_and_then_is_served_and_so_is_one_that_is_idle()
    {
        using var scene = new ServedScene(OpenAsync, limits: s_limits);
        var (idle, slow) = (scene.Connect(), scene.Connect());
        Assert.Equal(0u, idle.Do(NbdClient.Flush, 0, 0));
        slow.Begin(NbdClient.Write, 0, MiB, payload: new byte[MiB - 20]);
        scene.Receive(slow);
        for (var i = 0; i < 20; i++)
        {
            scene.Look(29);
            slow.Send([1]);
            scene.Receive(slow);
        }

        Assert.Equal(0u, slow.Reply());
        scene.Look(500);

        Assert.Equal((0u, 0u), (idle.Do(NbdClient.Read, 0, 4096), slow.Do(NbdClient.Read, 0, 4096)));
        Assert.Empty(scene.Reports);
    }

    [Theory]
    [InlineData(4096)]
    [InlineData(MiB)]
    public void Held_requests_are_not_their_clients_fault(int length)
    {
        using var scene = new ServedScene(OpenAsync, limits: s_limits);
        var (begun, half, whole) = (scene.Connect(), scene.Connect(), scene.Connect());
        begun.Begin(NbdClient.Write, 0, (ulong)length, payload: new byte[length / 2]);
        scene.Receive(begun);
        using var drained = new ManualResetEventSlim();
        scene.Server.Hold(drained.Set);
        Assert.True(drained.Wait(ServedScene.Patience, TestContext.Current.CancellationToken));
        var sending = StartSending(half, length, length - 1);
        StartSending(whole, length, length);

        scene.Look(500);
        scene.Server.Release();
        sending.Join();
        half.Send([0]);
        begun.Send(new byte[length - (length / 2)]);

        Assert.Equal((0u, 0u, 0u), (begun.Reply(), half.Reply(), whole.Reply()));
        Assert.Empty(scene.Reports);
    }

    [Fact]
    public void Small_writes_that_wait_for_space_keep_nothing_of_what_came_with_them()
    {
        const int writes = 64, refusedBytes = 200 << 10;
        var disk = new ScriptedDisk(DiskBytes) { Result = _ => -Errno.ENOSPC };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk), limits: s_limits, parkOnNoSpace: true);
        var client = scene.Connect();

        // Past the end of the disk: answered at once, when all of it was received and thrown away.
        for (var i = 0; i < writes; i++)
        {
            client.Begin(NbdClient.Write, 0, 512, payload: new byte[512]);
            Assert.Equal(28u, client.Do(NbdClient.Write, DiskBytes, refusedBytes, payload: new byte[refusedBytes]));
        }

        ServedScene.Until(() => scene.Server.InFlight.Parked == writes, "the small ones wait for space");
        Assert.InRange(scene.MappedBytes, 1, 4 * MiB);
    }

    [Fact]
    public void Slow_disk_is_not_its_clients_fault()
    {
        var disk = new ScriptedDisk(DiskBytes) { HoldFrom = 1 };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk), limits: s_limits);
        var client = scene.Connect();
        for (var i = 0; i < 31; i++)
            client.Begin(NbdClient.Write, 0, 256 << 10, payload: new byte[256 << 10]);
        var sending = StartSending(client, 8 * MiB, 8 * MiB);
        ServedScene.Until(() => disk.Came == 31, "as many writes wait for the disk as may");

        scene.Look(500);
        scene.OnHome(() =>
        {
            disk.Release();
            return new LoopTask<int>(0);
        });

        for (var i = 0; i < 32; i++)
            Assert.Equal(0u, client.Reply());
        sending.Join();
        Assert.Empty(scene.Reports);
    }

    [Fact]
    public void Clock_of_the_loop_sends_a_stalled_client_away_and_rests_then()
    {
        using var scene = new ServedScene(OpenAsync, limits: s_limits with { LookMilliseconds = 1 });
        var client = scene.Connect();
        client.Begin(NbdClient.Write, 0, MiB, payload: new byte[100]);

        ServedScene.Until(() => scene.Server.Connections == 0, "the stalled client is sent away");

        Assert.Single(scene.Reports);
    }

    private static bool LookOnce(ServedScene scene)
    {
        scene.Look(1);
        return true;
    }

    /// <summary>Sends what it can of a write, from a thread of its own: the server need not take it.</summary>
    private static Thread StartSending(NbdClient client, int length, int payload)
    {
        var thread = new Thread(() =>
        {
            try
            {
                client.Begin(NbdClient.Write, 0, (ulong)length, payload: new byte[payload]);
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException or IOException)
            {
                // It was sent away.
            }
        })
        {
            IsBackground = true,
        };
        thread.Start();
        return thread;
    }

    private async LoopTask<IDisk> OpenAsync()
    {
        var path = Path.Combine(_directory.Path, "disk");
        using (var file = File.Create(path))
            file.SetLength(DiskBytes);
        Assert.Equal(0, FileStorage.Open(path, readOnly: false, direct: false, out var storage));
        await LoopScheduler.Current.DelayAsync(0);
        return new RawDisk(storage!, readOnly: false);
    }
}
