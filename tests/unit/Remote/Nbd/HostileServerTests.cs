using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Nbd;
using Xunit;
using static Qcow2Blk.Tests.Remote.Nbd.ServerEnd;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>Replies that a server must not send: never a wrong byte, never a wait without an end, and the next connection works.</summary>
public sealed class HostileServerTests
{
    private const long Size = 8 << 20;
    private const int Length = 65536;

    public static TheoryData<string> Lies => [.. s_lies.Keys];

    private static readonly Dictionary<string, (Action<ServerEnd, Request> Lie, string Why)> s_lies = new()
    {
        ["another cookie"] = ((end, request) =>
            end.Chunk(request.Cookie + 1, 1, 1, U64(request.Offset), new byte[Length]), "not under way"),
        ["a cookie of another slot"] = ((end, request) => end.Chunk(request.Cookie ^ 0x5000, 1, 0), "not under way"),
        ["a cookie of an earlier request in its slot"] = ((end, request) =>
            end.Chunk(request.Cookie - 0x10000, 1, 1, U64(request.Offset), new byte[Length]), "not under way"),
        ["data twice"] = ((end, request) =>
        {
            end.Data(request, request.Offset, Length, done: false);
            end.Data(request, request.Offset + 5, 1, done: true);
        }, "twice"),
        ["data that overlaps a hole"] = ((end, request) =>
        {
            end.Hole(request, request.Offset + 100, 100, done: false);
            end.Data(request, request.Offset, 101, done: true);
        }, "twice"),
        ["a gap"] = ((end, request) =>
        {
            end.Data(request, request.Offset, 1000, done: false);
            end.Data(request, request.Offset + 1001, Length - 1001, done: true);
        }, "ended before all"),
        ["only the end of a reply"] = ((end, request) => end.Chunk(request.Cookie, 1, 0), "ended before all"),
        ["an offset before the request's"] = ((end, request) => end.Data(request, request.Offset - 1, 10, done: true), "was asked for"),
        ["data past the request's end"] = ((end, request) => end.Data(request, request.Offset + 1, Length, done: true), "was asked for"),
        ["an offset that wraps"] = ((end, request) =>
            end.Chunk(request.Cookie, 1, 1, U64(ulong.MaxValue - 5), new byte[10]), "was asked for"),
        ["a giant length"] = ((end, request) =>
            end.Send(Header(request.Cookie, 1, 1, [])[..16], U32(uint.MaxValue), U64(request.Offset)), "was asked for"),
        ["a giant hole"] = ((end, request) => end.Hole(request, request.Offset, uint.MaxValue, done: true), "was asked for"),
        ["an empty hole"] = ((end, request) => end.Hole(request, request.Offset, 0, done: true), "was asked for"),
        ["data without any"] = ((end, request) => end.Chunk(request.Cookie, 1, 1, U64(request.Offset)), "chunk of type 1"),
        ["a hole of the wrong shape"] = ((end, request) => end.Chunk(request.Cookie, 1, 2, U64(request.Offset)), "chunk of type 2"),
        ["an end with a payload"] = ((end, request) => end.Chunk(request.Cookie, 1, 0, new byte[4]), "chunk of type 0"),
        ["an end that is not the end"] = ((end, request) => end.Chunk(request.Cookie, 0, 0), "chunk of type 0"),
        ["a chunk of an unknown type"] = ((end, request) => end.Chunk(request.Cookie, 1, 77, new byte[4]), "chunk of type 77"),
        ["a block status"] = ((end, request) => end.Chunk(request.Cookie, 1, 5, new byte[12]), "chunk of type 5"),
        ["an error that is too long"] = ((end, request) =>
            end.Send(Header(request.Cookie, 1, 0x8001, [])[..16], U32(1 << 20)), "error of type 0x8001"),
        ["an error that is too short"] = ((end, request) => end.Chunk(request.Cookie, 1, 0x8001, new byte[5]), "error of type 0x8001"),
        ["an error whose text is longer than itself"] = ((end, request) =>
            end.Chunk(request.Cookie, 1, 0x8001, U32(5), U16(100), new byte[10]), "text of 100 bytes"),
        ["an error without a number"] = ((end, request) => end.Chunk(request.Cookie, 1, 0x8001, U32(0), U16(0)), "error 0"),
        ["a simple reply after structured ones were agreed on"] = ((end, request) =>
            end.Simple(request.Cookie, 0, new byte[Length]), "begins with"),
        ["another magic number"] = ((end, request) => end.Send(new byte[40]), "begins with 0x00000000"),
        ["half of a header"] = ((end, request) => end.Send(Header(request.Cookie, 1, 0, [])[..9]), "closed the connection"),
        ["half of the data"] = ((end, request) =>
            end.Send(Header(request.Cookie, 1, 1, Join(U64(request.Offset), new byte[Length]))[..5000]), "closed the connection"),
        ["nothing"] = ((_, _) => { }, "closed the connection"),
    };

    [Theory]
    [MemberData(nameof(Lies))]
    public void Lie_ends_the_attempt_and_the_next_one_works(string name)
    {
        var (lie, why) = s_lies[name];
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size);
                lie(end, end.Next());
            },
            Honest);
        using var scene = Scene(server);

        var (result, _) = scene.Read(131072, Length);
        var (again, bytes) = scene.Read(131072, Length);

        Assert.Equal(FetchStatus.Unavailable, result.Status);
        Assert.Contains(why, result.Why, StringComparison.Ordinal);
        Assert.True(again.IsDone, again.Why);
        Assert.Equal(Pattern(131072, Length), bytes);
        Assert.Equal(2, server.Clients);
    }

    [Fact]
    public void Lie_ends_all_reads_of_its_connection()
    {
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size);
                var first = end.Next();
                end.Next();
                end.Next();
                end.Data(first, first.Offset, first.Length, done: true);
                end.Send(new byte[100]);
            },
            Honest);
        using var scene = Scene(server);

        var results = scene.ReadTogether((0, Length), (Length, Length), (2 * Length, Length));

        Assert.Equal([FetchStatus.Done, FetchStatus.Unavailable, FetchStatus.Unavailable], results.Select(read => read.Result.Status));
        Assert.Equal(Pattern(0, Length), results[0].Bytes);
    }

    [Fact]
    public void Structured_reply_that_was_not_agreed_on_is_not_taken()
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size, structured: false);
            var request = end.Next();
            end.Data(request, request.Offset, Length, done: true);
            end.Idle();
        });
        using var scene = Scene(server);

        Assert.Contains("begins with 0x668e33ef", scene.Read(0, Length).Result.Why, StringComparison.Ordinal);
    }

    /// <summary>Simple replies name no offset: one that comes twice must not be taken for the answer to what is asked then.</summary>
    [Fact]
    public void Reply_that_comes_twice_is_not_the_answer_to_the_next_read()
    {
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size, structured: false);
                var first = end.Next();
                end.Simple(first.Cookie, 0, Pattern(first.Offset, Length));
                end.Next();
                end.Simple(first.Cookie, 0, Pattern(first.Offset, Length));
                end.Idle();
            },
            Honest);
        using var scene = Scene(server);

        Assert.Equal(Pattern(0, Length), scene.Read(0, Length).Bytes);
        Assert.Contains("not under way", scene.Read(Length, Length).Result.Why, StringComparison.Ordinal);
        Assert.Equal(Pattern(Length, Length), scene.Read(Length, Length).Bytes);
    }

    [Fact]
    public void Reply_in_very_many_pieces_out_of_order_is_not_kept_track_of()
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size);
            var request = end.Next();
            for (var i = 0; i < 3000; i++)
                end.Data(request, request.Offset + (ulong)(2 * i), 1, done: false);
            end.Idle();
        });
        using var scene = Scene(server);

        Assert.Contains("1024 pieces", scene.Read(0, Length).Result.Why, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4)]
    [InlineData(24)]
    [InlineData(40000)]
    public void Server_that_stalls_is_given_up_in_time(int sent)
    {
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size);
                var request = end.Next();
                end.Send(Header(request.Cookie, 1, 1, Join(U64(request.Offset), Pattern(request.Offset, request.Length)))[..sent]);
                end.Idle();
            },
            Honest);
        using var scene = Scene(server, SourceScene.Impatient with { Connect = 3000, Handshake = 3000 });
        Assert.True(scene.Open().IsDone);
        var clock = Stopwatch.StartNew();

        var (result, _) = scene.Read(0, Length);

        Assert.InRange(clock.ElapsedMilliseconds, 250, 2500);
        Assert.Equal(FetchStatus.Unavailable, result.Status);
        Assert.Contains("the server has sent ", result.Why, StringComparison.Ordinal);
        Assert.True(scene.Read(0, Length).Result.IsDone);
    }

    [Fact]
    public void Server_that_drips_is_given_up()
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size);
            var request = end.Next();
            foreach (var octet in Header(request.Cookie, 1, 1, Join(U64(request.Offset), Pattern(request.Offset, request.Length))))
            {
                end.Send([octet]);
                Thread.Sleep(20);
            }
        });
        using var scene = Scene(server, SourceScene.Impatient with { Connect = 3000, Handshake = 3000 });

        Assert.Contains("sent only", scene.Read(0, Length).Result.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Server_without_requests_may_be_silent()
    {
        using var server = new ScriptedServer(Honest);
        using var scene = Scene(server, SourceScene.Impatient with { Connect = 3000, Handshake = 3000 });
        Assert.True(scene.Read(0, Length).Result.IsDone);

        Thread.Sleep(900);

        Assert.True(scene.Read(Length, Length).Result.IsDone);
        Assert.Equal(1, server.Clients);
    }

    [Fact]
    public void Close_ends_reads_that_wait()
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size);
            end.Idle();
        });
        using var scene = Scene(server);
        Assert.True(scene.Open().IsDone);
        var reader = new Thread(() => Assert.Contains("closed", scene.Read(0, Length).Result.Why, StringComparison.Ordinal));
        reader.Start();
        Thread.Sleep(100);

        scene.Close();

        Assert.True(reader.Join(5000));
        Assert.Equal(FetchStatus.Unavailable, scene.Read(0, Length).Result.Status);
    }

    private static void Honest(ServerEnd end)
    {
        end.Open(Size);
        end.ServeAll();
    }

    private static SourceScene Scene(ScriptedServer server, NbdTimes? times = null) =>
        new($"nbd://127.0.0.1:{server.Port}/", times: times);
}
