using System;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>Discards and zeroes of any length are done in pieces: nothing that waits for the gate to shut waits for more than
/// one.</summary>
public sealed class LongRequestTests
{
    private const long GiB = 1L << 30;
    private const long Exbibyte = 1L << 60;

    [Theory]
    [InlineData(NbdClient.Trim, "discard", 1)]
    [InlineData(NbdClient.Trim, "discard", 2)]
    [InlineData(NbdClient.WriteZeroes, "zero", 1)]
    [InlineData(NbdClient.WriteZeroes, "zero", 2)]
    public void Suspend_waits_for_one_piece_and_the_request_goes_on_after_the_resume(int command, string what, int loops)
    {
        var disk = new ScriptedDisk(Exbibyte) { HoldFrom = 3 };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk), loops);
        var clients = Enumerable.Range(0, loops).Select(_ => scene.Connect(extended: true)).ToArray();
        var client = clients[^1];
        client.Begin(command, 0, 8 * (ulong)GiB);
        ServedScene.Until(() => disk.Came == 3, "the third piece is under way");

        using var drained = new ManualResetEventSlim();
        scene.Server.Hold(drained.Set);
        scene.Settle();
        Assert.False(drained.IsSet, "held with a piece in progress");
        scene.OnHome(() => Released(disk));
        Assert.True(drained.Wait(ServedScene.Patience, TestContext.Current.CancellationToken), "the request keeps the gate open");
        Assert.Equal((3, 0), (disk.Came, scene.Server.InFlight.Active));
        scene.Server.Release();

        Assert.Equal(0u, client.Reply());
        var pieces = disk.Done.Select(piece => (piece.What, piece.Offset, piece.Length));
        Assert.Equal(Enumerable.Range(0, 8).Select(i => (what, i * GiB, GiB)), pieces);
    }

    [Fact]
    public void Pieces_grow_where_one_call_of_a_file_system_does_each()
    {
        // In pieces of 1 GiB it would be a billion: more than ten thousand fail here.
        var disk = new ScriptedDisk(Exbibyte) { TurnsMayGrow = true, Result = number => number > 10_000 ? -Errno.EIO : 0 };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk));
        var client = scene.Connect(extended: true);
        client.Begin(NbdClient.Trim, 0, Exbibyte);
        Assert.Equal(0u, client.Reply());
        Assert.Equal(Exbibyte, disk.Done.Sum(piece => piece.Length));
        Assert.All(disk.Done, piece => Assert.Equal(0, piece.Offset % GiB));
    }

    [Fact]
    public void Detach_ends_a_request_that_was_interrupted_and_its_client_is_told()
    {
        var disk = new ScriptedDisk(Exbibyte) { HoldFrom = 2 };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk));
        var client = scene.Connect(extended: true);
        client.Begin(NbdClient.Trim, 0, Exbibyte);
        ServedScene.Until(() => disk.Came == 2, "the second piece is under way");
        using var drained = new ManualResetEventSlim();
        scene.Server.Hold(drained.Set);
        scene.Settle();
        scene.OnHome(() => Released(disk));
        Assert.True(drained.Wait(ServedScene.Patience, TestContext.Current.CancellationToken), "the request keeps the gate open");

        scene.Close();

        Assert.Equal((uint)Errno.ESHUTDOWN, client.Reply());
        Assert.Throws<EndOfStreamException>(() => client.Reply());
        Assert.Equal(2, disk.Came);
    }

    [Fact]
    public void Client_that_goes_while_its_request_is_interrupted_leaves_nothing_behind()
    {
        var disk = new ScriptedDisk(Exbibyte) { HoldFrom = 2 };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk));
        var client = scene.Connect(extended: true);
        client.Begin(NbdClient.Trim, 0, Exbibyte);
        ServedScene.Until(() => disk.Came == 2, "the second piece is under way");
        using var drained = new ManualResetEventSlim();
        scene.Server.Hold(drained.Set);
        scene.Settle();
        scene.OnHome(() => Released(disk));
        Assert.True(drained.Wait(ServedScene.Patience, TestContext.Current.CancellationToken), "the request keeps the gate open");

        client.Dispose();
        ServedScene.Until(() => scene.Server.Connections == 0, "the connection ends");
        scene.Server.Release();
        scene.Settle();

        Assert.Equal((2, 0), (disk.Came, scene.Server.InFlight.Active));
    }

    [Fact]
    public void Pieces_end_at_multiples_of_their_size_and_one_flush_follows_the_last()
    {
        var disk = new ScriptedDisk(Exbibyte);
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk));
        var client = scene.Connect(extended: true);

        Assert.Equal(0u, client.Do(NbdClient.Trim, GiB - 4096, (ulong)GiB + 8192, NbdClient.ForceUnitAccess));
        Assert.Equal(0u, client.Do(NbdClient.WriteZeroes, GiB - 4096, (ulong)GiB, NbdClient.ForceUnitAccess));
        Assert.Equal(0u, client.Do(NbdClient.WriteZeroes, GiB, (ulong)GiB, NbdClient.ForceUnitAccess));

        Assert.Equal(
            [
                ("discard", GiB - 4096, 4096, ZeroFlags.None),
                ("discard", GiB, GiB, ZeroFlags.None),
                ("discard", 2 * GiB, 4096, ZeroFlags.None),
                ("flush", 0, 0, ZeroFlags.None),
                ("zero", GiB - 4096, 4096, ZeroFlags.MayUnmap),
                ("zero", GiB, GiB - 4096, ZeroFlags.MayUnmap),
                ("flush", 0, 0, ZeroFlags.None),
                ("zero", GiB, GiB, ZeroFlags.MayUnmap | ZeroFlags.ForceUnitAccess),
            ],
            disk.Done);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Fast_zeroes_that_cannot_be_had_at_an_edge_change_nothing(int refused)
    {
        var disk = new ScriptedDisk(Exbibyte) { Result = number => number == refused ? -Errno.EOPNOTSUPP : 0 };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk));
        var client = scene.Connect(extended: true);

        Assert.Equal((uint)Errno.EOPNOTSUPP, client.Do(NbdClient.WriteZeroes, GiB - 100, 3 * (ulong)GiB + 300, NbdClient.FastZero));

        var edges = new[] { (GiB - 100, 100L), (4 * GiB, 200L) };
        Assert.Equal(edges.Take(refused), disk.Done.Select(piece => (piece.Offset, piece.Length)));
    }

    [Fact]
    public void Piece_that_fails_ends_the_request_with_its_error()
    {
        var disk = new ScriptedDisk(Exbibyte) { Result = number => number == 3 ? -Errno.EIO : 0 };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk));

        Assert.Equal(5u, scene.Connect(extended: true).Do(NbdClient.Trim, 0, Exbibyte, NbdClient.ForceUnitAccess));

        Assert.Equal(3, disk.Came);
    }

    [Fact]
    public void Request_that_finds_no_space_goes_on_from_the_piece_that_found_none()
    {
        var disk = new ScriptedDisk(Exbibyte) { Result = number => number == 2 ? -Errno.ENOSPC : 0 };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk), parkOnNoSpace: true);

        Assert.Equal(0u, scene.Connect(extended: true).Do(NbdClient.WriteZeroes, 0, 3 * (ulong)GiB));

        Assert.Equal([0, GiB, GiB, 2 * GiB], disk.Done.Select(piece => piece.Offset));
    }

    [Fact]
    public void Block_status_tells_what_it_has_found_when_the_gate_is_shut()
    {
        var disk = new ScriptedDisk(Exbibyte) { HoldFrom = 3 };
        using var scene = new ServedScene(() => new LoopTask<IDisk>(disk));
        var client = scene.Connect(extended: true);
        client.Begin(NbdClient.BlockStatus, 0, (ulong)GiB);
        ServedScene.Until(() => disk.Came == 3, "the third look is under way");

        using var drained = new ManualResetEventSlim();
        scene.Server.Hold(drained.Set);
        scene.Settle();
        scene.OnHome(() => Released(disk));

        Assert.True(drained.Wait(ServedScene.Patience, TestContext.Current.CancellationToken), "the request keeps the gate open");
        Assert.Equal((3, 3), (client.Extents(), disk.Came));
        scene.Server.Release();
    }

    private static LoopTask<int> Released(ScriptedDisk disk)
    {
        disk.Release();
        return new LoopTask<int>(0);
    }
}
