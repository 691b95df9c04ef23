using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Nbd;
using Qcow2Blk.Tests.Exports.Nbd;
using Xunit;
using static Qcow2Blk.Tests.Remote.Nbd.ServerEnd;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>Block status: what a server says is zeroes is not read, and no lie of one becomes a wrong byte.</summary>
public sealed class HoleTests
{
    private const long Size = 8 << 20;
    private const int Length = 262144, Unit = ZeroMap.UnitBytes;
    private const ushort ReadCommand = 0, StatusCommand = 7;
    private const uint Context = 5, Hole = 1, Zero = 2;

    public static TheoryData<string> Lies => [.. s_lies.Keys];

    private static readonly Dictionary<string, (Action<ServerEnd, Request> Lie, string Why)> s_lies = new()
    {
        ["an extent of nothing"] = ((end, request) => end.Status(request, Context, Unit, Zero, 0, Zero), "no bytes at 327680"),
        ["an extent past the request"] = ((end, request) =>
            end.Status(request, Context, (uint)request.Length, Zero, 512, Zero), "was asked for"),
        ["an extent past the export"] = ((end, request) =>
            end.Status(request, Context, (uint)request.Length + 1, Zero), "past the export's end"),
        ["an extent of 4 GiB"] = ((end, request) => end.Status(request, Context, uint.MaxValue, Zero), "past the export's end"),
        ["another context"] = ((end, request) => end.Status(request, Context + 1, (uint)Size, Zero), "context 6, and 5 was agreed on"),
        ["no extent"] = ((end, request) => end.Status(request, Context), "block status with 4 bytes"),
        ["half an extent"] = ((end, request) => end.Status(request, Context, Unit, Zero, Unit), "block status with 16 bytes"),
        ["nothing of a status"] = ((end, request) => end.Chunk(request.Cookie, 1, 5), "block status with 0 bytes"),
        ["too many extents"] = ((end, request) =>
            end.Send(Header(request.Cookie, 1, 5, [])[..16], U32(4 + (8 * ((1 << 20) + 1)))), "1048577 extents"),
        ["an end without a status"] = ((end, request) => end.Chunk(request.Cookie, 1, 0), "no block status"),
        ["a status twice"] = ((end, request) =>
        {
            end.Chunk(request.Cookie, 0, 5, U32(Context), U32(Unit), U32(Zero));
            end.Chunk(request.Cookie, 1, 5, U32(Context), U32(Unit), U32(0));
        }, "twice"),
        ["data"] = ((end, request) => end.Data(request, request.Offset, 512, done: true), "to a question for the block status"),
        ["a hole"] = ((end, request) => end.Hole(request, request.Offset, 512, done: true), "to a question for the block status"),
        ["a simple success"] = ((end, request) => end.Simple(request.Cookie, 0), "with a simple reply"),
        ["half of the list"] = ((end, request) =>
            end.Send(Header(request.Cookie, 1, 5, Join(U32(Context), U32(Unit), U32(Zero)))[..26]), "closed the connection"),
    };

    [Theory]
    [MemberData(nameof(Lies))]
    public void Lie_is_no_zero_and_the_next_connection_works(string name)
    {
        var (lie, why) = s_lies[name];
        var isAsked = false;
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size, context: Context);
                var request = end.Next();
                isAsked = request.Command == StatusCommand;
                lie(end, request);
            },
            end => Serve(end, (uint)Size, 0));
        using var scene = Scene(server);

        var (result, _) = scene.Read(Length, Length);
        var (again, bytes) = scene.Read(Length, Length);

        Assert.True(isAsked);
        Assert.Equal(FetchStatus.Unavailable, result.Status);
        Assert.Contains(why, result.Why, StringComparison.Ordinal);
        Assert.True(again.IsDone && !again.IsZeroes, again.Why);
        Assert.Equal(Pattern(Length, Length), bytes);
    }

    [Theory]
    [MemberData(nameof(Lies))]
    public void Server_that_goes_on_lying_is_read_without_asking(string name)
    {
        var (lie, why) = s_lies[name];
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size, context: Context);
            while (true)
            {
                var request = end.Next();
                if (request.Command == StatusCommand)
                {
                    lie(end, request);
                    return;
                }

                end.Data(request, request.Offset, request.Length, done: true);
            }
        });
        using var scene = Scene(server);

        var results = Enumerable.Range(0, 5).Select(_ => scene.Read(Length, Length)).ToList();

        Assert.Equal([false, false, false, true, true], results.Select(read => read.Result.IsDone));
        Assert.All(results.Where(read => read.Result.IsDone), read => Assert.Equal(Pattern(Length, Length), read.Bytes));
        Assert.Contains(why, Assert.Single(scene.Reports), StringComparison.Ordinal);
    }

    [Fact]
    public void Zeroes_are_not_read_and_a_hole_that_may_hold_anything_is()
    {
        var reads = new List<ulong>();
        using var server = new ScriptedServer(end => Serve(end, reads,
            [Length, 0, Length, Zero, Length, Hole, Length, Hole | Zero | 64, Length - 100, Zero, 100, 0, (uint)Size, Zero], asks: 1));
        using var scene = Scene(server);

        var zeroes = Enumerable.Range(0, 8).Select(i => scene.Read(i * Length, Length)).ToList();

        Assert.Equal([false, true, false, true, false, true, true, true], zeroes.Select(read => read.Result.IsZeroes));
        Assert.All(zeroes, read => Assert.True(read.Result.IsDone));
        Assert.All(zeroes.Where(read => read.Result.IsZeroes), read => Assert.False(read.Bytes.AsSpan().ContainsAnyExcept((byte)0)));
        Assert.Equal([0, 2 * Length, 4 * Length], reads);
    }

    [Fact]
    public void Zeroes_in_pieces_are_zeroes_and_a_server_of_small_answers_is_asked_on()
    {
        var reads = new List<ulong>();
        using var server = new ScriptedServer(end => Serve(end, reads, [1000, Zero, 100_000, Zero | Hole, 300_000, Zero], asks: 100));
        using var scene = Scene(server);

        Assert.True(scene.Read(0, Length).Result.IsZeroes);
        Assert.True(scene.Read(Length, Length).Result.IsZeroes);
        Assert.Empty(reads);
    }

    /// <summary>Each answer is of less than the smallest chunk: such a server is not asked for the next byte, and the next.</summary>
    [Fact]
    public void Server_of_tiny_answers_is_read()
    {
        var reads = new List<ulong>();
        using var server = new ScriptedServer(end => Serve(end, reads, [512, Zero], asks: 1));
        using var scene = Scene(server);

        var (result, bytes) = scene.Read(0, Length);

        Assert.True(result.IsDone && !result.IsZeroes, result.Why);
        Assert.Equal(Pattern(0, Length), bytes);
        Assert.True(scene.Read(0, Length).Result.IsDone);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Server_that_answers_the_question_with_an_error_is_read_without_asking_again(bool structured)
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size, context: Context);
            var request = end.Next();
            Assert.Equal(StatusCommand, request.Command);
            if (structured)
                end.Chunk(request.Cookie, 1, 0x8001, U32(95), U16(4), "oops"u8.ToArray());
            else
                end.Simple(request.Cookie, 95);
            end.ServeAll();
        });
        using var scene = Scene(server);

        for (var i = 0; i < 3; i++)
            Assert.Equal(Pattern((ulong)(i * Length), Length), scene.Read(i * Length, Length).Bytes);

        Assert.Equal(1, server.Clients);
        Assert.Contains("cannot say what is allocated at 0: not supported", Assert.Single(scene.Reports), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0x80000001)]
    [InlineData(0x80000003)]
    [InlineData(0x80000006)]
    public void Server_that_refuses_the_context_is_read_without(uint error)
    {
        using var server = new ScriptedServer(end =>
        {
            end.Greet();
            end.Reply(end.Option().Option, 1);
            end.Reply(end.Option().Option, error);
            end.Option();
            end.Reply(7, 3, U16(0), U64((ulong)Size), U16(3));
            end.Reply(7, 1);
            end.ServeAll();
        });
        using var scene = Scene(server);

        Assert.Equal(Pattern(0, Length), scene.Read(0, Length).Bytes);
    }

    [Fact]
    public void Server_that_does_not_answer_the_question_is_given_up_in_time()
    {
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size, context: Context);
                end.Idle();
            },
            end => Serve(end, (uint)Size, Zero));
        using var scene = new SourceScene($"nbd://127.0.0.1:{server.Port}/", times: SourceScene.Impatient with { Connect = 3000 });
        Assert.True(scene.Open().IsDone);

        Assert.Equal(FetchStatus.Unavailable, scene.Read(0, Length).Result.Status);
        Assert.True(scene.Read(0, Length).Result.IsZeroes);
    }

    /// <summary>What the server of before said is not true of the one that is there now.</summary>
    [Fact]
    public void Reconnect_forgets_what_was_said()
    {
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size, context: Context);
                end.Status(end.Next(), Context, Length, Zero, (uint)Size - Length, 0);
                end.Next();
            },
            end => Serve(end, (uint)Size, 0));
        using var scene = Scene(server);
        Assert.True(scene.Read(0, Length).Result.IsZeroes);
        Assert.False(scene.Read(Length, Length).Result.IsDone);

        var (result, bytes) = scene.Read(0, Length);

        Assert.True(result.IsDone && !result.IsZeroes, result.Why);
        Assert.Equal(Pattern(0, Length), bytes);
    }

    /// <summary>What a manifest pins is verified, and needs nobody's word for what is zeroes.</summary>
    [Fact]
    public void Pinned_base_is_not_asked_for_holes()
    {
        using var server = new ScriptedServer(end => Serve(end, (uint)Size, Zero));
        using var scene = new SourceScene($"nbd://127.0.0.1:{server.Port}/", new RemoteSettings { Root = new string('0', 64) });

        Assert.Equal(Pattern(0, Length), scene.Read(0, Length).Bytes);
    }

    [Fact]
    public void Reads_that_wait_for_the_same_answer_ask_once()
    {
        var reads = new List<ulong>();
        using var server = new ScriptedServer(end => Serve(end, reads, [(uint)Size, Zero], asks: 1));
        using var scene = Scene(server);

        var results = scene.ReadTogether([.. Enumerable.Range(0, 16).Select(i => ((long)i * Length, Length))]);

        Assert.All(results, read => Assert.True(read.Result.IsZeroes));
        Assert.Empty(reads);
    }

    [Theory]
    [InlineData("file", "DISK")]
    [InlineData("--filter=blocksize-policy", "file", "DISK", "blocksize-minimum=512", "blocksize-preferred=4096",
        "blocksize-maximum=64K", "blocksize-error-policy=error")]
    public void Nbdkit_sends_nothing_of_a_hole(params string[] arguments)
    {
        using var server = RealServer.Nbdkit(arguments);
        using var scene = new SourceScene(server.Url(""));

        AssertHoleIsNotSent(scene);
    }

    [Theory]
    [InlineData("--filter=noextents", "file", "DISK")]
    [InlineData("--filter=error", "file", "DISK", "error-extents-rate=100%", "error-extents=EIO")]
    public void Nbdkit_that_knows_no_holes_sends_them(params string[] arguments)
    {
        using var server = RealServer.Nbdkit(arguments);
        using var scene = new SourceScene(server.Url(""));

        var (result, bytes) = scene.Read(RealServer.HoleStart, Length);

        Assert.True(result.IsDone && !result.IsZeroes, result.Why);
        Assert.Equal(new byte[Length], bytes);
    }

    [Fact]
    public void Nbdkit_of_memory_sends_only_what_was_put_there()
    {
        using var server = RealServer.Nbdkit("data", "data=@0x20000000 1 2 3", "size=1G");
        using var scene = new SourceScene(server.Url(""));

        var sent = Enumerable.Range(0, 1024).Count(i => !scene.Read((long)i << 20, 1 << 20).Result.IsZeroes);

        Assert.Equal(1, sent);
        Assert.Equal([1, 2, 3, 0], scene.Read(0x20000000, 4).Bytes);
    }

    [Fact]
    public void Qemu_nbd_sends_nothing_of_a_hole()
    {
        using var server = RealServer.QemuNbd("--export-name=disk");
        using var scene = new SourceScene(server.Url("disk"));

        AssertHoleIsNotSent(scene);
    }

    [Fact]
    public void Our_own_server_sends_nothing_of_a_hole()
    {
        using var server = new PeerServer(receiveLimit: 65536, Catalog.Disk);
        using var scene = new SourceScene($"nbd+unix:///{Catalog.Disk.Name}?socket={server.SocketPath}");

        var sent = Enumerable.Range(0, PeerServer.Size / Unit).Where(i =>
        {
            var (result, bytes) = scene.Read((long)i * Unit, Unit);
            Assert.Equal(server.Disk[(i * Unit)..((i + 1) * Unit)], bytes);
            return !result.IsZeroes;
        });

        Assert.Equal([0, 16], sent);
    }

    private static void AssertHoleIsNotSent(SourceScene scene)
    {
        const int chunks = (RealServer.Size + Length - 1) / Length;
        for (var i = 0; i < chunks; i++)
        {
            var length = Math.Min(Length, RealServer.Size - (i * Length));
            var (result, bytes) = scene.Read((long)i * Length, length);
            Assert.True(result.IsDone, result.Why);
            Assert.Equal(RealServer.Expected(i * Length, length), bytes);
            Assert.Equal(i * Length is >= RealServer.HoleStart and < RealServer.HoleEnd, result.IsZeroes);
        }

        Assert.Empty(scene.Reports);
    }

    /// <summary>One extent is all that is told of any range.</summary>
    private static void Serve(ServerEnd end, uint length, uint flags) => Serve(end, [], [length, flags], asks: int.MaxValue);

    private static void Serve(ServerEnd end, List<ulong> reads, uint[] extents, int asks)
    {
        end.Open(Size, context: Context);
        while (true)
        {
            var request = end.Next();
            if (request.Command == StatusCommand && asks-- > 0)
            {
                end.Status(request, Context, Cut(extents, (uint)((ulong)Size - request.Offset)));
                continue;
            }

            Assert.Equal(ReadCommand, request.Command);
            reads.Add(request.Offset);
            end.Data(request, request.Offset, request.Length, done: true);
        }
    }

    /// <summary>Extents that end with the export.</summary>
    private static uint[] Cut(uint[] extents, uint left)
    {
        var cut = new List<uint>();
        for (var i = 0; i < extents.Length && left > 0; i += 2)
        {
            var length = Math.Min(extents[i], left);
            cut.AddRange([length, extents[i + 1]]);
            left -= length;
        }

        return [.. cut];
    }

    private static SourceScene Scene(ScriptedServer server) => new($"nbd://127.0.0.1:{server.Port}/");
}
