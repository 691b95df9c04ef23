using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Text;
using Qcow2Blk.Remote;
using Xunit;
using static Qcow2Blk.Tests.Remote.Nbd.ServerEnd;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>What servers may say before they serve, and what they must not.</summary>
public sealed class HandshakeTests
{
    private const long Size = 8 << 20;

    private static readonly Dictionary<string, (Action<ServerEnd> Greets, FetchStatus Status, string Why)> s_refused = new()
    {
        ["another protocol"] = (end => end.Send("SSH-2.0-OpenSSH_9.2\r\n"u8.ToArray()), FetchStatus.Unfit, "not an NBD server"),
        ["oldstyle"] = (end => end.Send("NBDMAGIC"u8.ToArray(), U64(0x00420281861253), U64((ulong)Size), U32(3), new byte[124]),
            FetchStatus.Unfit, "oldstyle"),
        ["an unknown style"] = (end => end.Send("NBDMAGIC"u8.ToArray(), U64(7), U16(3)), FetchStatus.Unfit, "0x0000000000000007"),
        ["newstyle that is not fixed"] = (end => end.Greet(flags: 2), FetchStatus.Unfit, "fixed newstyle"),
        ["a reply with another magic"] = (end =>
        {
            end.Greet();
            end.Option();
            end.Send(new byte[20]);
        }, FetchStatus.Unavailable, "magic number 0x0000000000000000"),
        ["a reply to another option"] = (end =>
        {
            end.Greet();
            end.Option();
            end.Reply(7, 1);
        }, FetchStatus.Unavailable, "replies to option 7"),
        ["a giant reply"] = (end =>
        {
            end.Greet();
            end.Option();
            end.Send(U64(0x0003e889045565a9), U32(8), U32(1), U32(0x7fffffff));
        }, FetchStatus.Unavailable, "2147483647 bytes"),
        ["a reply of an unknown type"] = (end =>
        {
            end.Greet();
            end.Option();
            end.Reply(8, 99);
        }, FetchStatus.Unavailable, "with 99"),
        ["information before the export was asked for"] = (end =>
        {
            end.Greet();
            end.Option();
            end.Reply(8, 3, U16(0), U64(1), U16(3));
        }, FetchStatus.Unavailable, "with 3"),
        ["replies without an end"] = (end =>
        {
            Asked(end);
            while (true)
                end.Reply(7, 3, U16(1), new byte[100]);
        }, FetchStatus.Unavailable, "more than 128"),
        ["no size"] = (end =>
        {
            Asked(end);
            end.Reply(7, 1);
        }, FetchStatus.Unavailable, "without telling its size"),
        ["a size that is too short"] = (end =>
        {
            Asked(end);
            end.Reply(7, 3, U16(0), U32(1));
        }, FetchStatus.Unavailable, "information 0 has 4 bytes"),
        ["information without a type"] = (end =>
        {
            Asked(end);
            end.Reply(7, 3, [1]);
        }, FetchStatus.Unavailable, "without a type"),
        ["a description that is too long"] = (end =>
        {
            Asked(end);
            end.Reply(7, 3, U16(2), new byte[4097]);
        }, FetchStatus.Unavailable, "information 2 has 4097 bytes"),
        ["a size of no disk"] = (end => end.Open(-1), FetchStatus.Unfit, "18446744073709551615 bytes"),
        ["a size of no disk in the old way"] = (end =>
        {
            end.Greet();
            for (var i = 0; i < 2; i++)
                end.Reply(end.Option().Option, 0x80000001);
            end.Option();
            end.Send(U64(ulong.MaxValue), U16(3));
        }, FetchStatus.Unfit, "18446744073709551615 bytes"),
        ["an empty export"] = (end => end.Open(0), FetchStatus.Unfit, "is empty"),
        ["blocks that are not powers of two"] = (end => end.Open(3000 * 4096, minBlock: 3000), FetchStatus.Unfit, "blocks of 3000"),
        ["blocks of nothing"] = (end => end.Open(Size, minBlock: 0), FetchStatus.Unfit, "blocks of 0"),
        ["blocks that are too large"] = (end => end.Open(Size, minBlock: 131072), FetchStatus.Unfit, "blocks of 131072"),
        ["no request is small enough"] = (end => end.Open(Size, minBlock: 4096, maxBlock: 512), FetchStatus.Unfit, "4096 to 512"),
        ["a size that is not whole blocks"] = (end => end.Open(Size + 1, minBlock: 512), FetchStatus.Unfit, "not blocks of 512"),
        ["no such export"] = (end => Refuses(end, 0x80000006, "nothing here"), FetchStatus.Missing, "no export \"disk\": nothing here"),
        ["a policy"] = (end => Refuses(end, 0x80000002, "go\naway"), FetchStatus.Denied, "refuses this client: go?away"),
        ["TLS"] = (end => Refuses(end, 0x80000005, ""), FetchStatus.Unfit, "requires TLS"),
        ["its end"] = (end => Refuses(end, 0x80000007, ""), FetchStatus.Unavailable, "0x80000007"),
        ["a metadata context that was not asked for"] = (end =>
        {
            AskedForContext(end);
            end.Reply(10, 4, U32(1), "base:allocatiom"u8.ToArray());
        }, FetchStatus.Unavailable, "not asked for"),
        ["a metadata context twice"] = (end =>
        {
            AskedForContext(end);
            for (var i = 0u; i < 2; i++)
                end.Reply(10, 4, U32(i), "base:allocation"u8.ToArray());
        }, FetchStatus.Unavailable, "twice"),
        ["a metadata context without a number"] = (end =>
        {
            AskedForContext(end);
            end.Reply(10, 4, [1, 2, 3]);
        }, FetchStatus.Unavailable, "not asked for"),
        ["a hang-up"] = (end => Asked(end), FetchStatus.Unavailable, "closed the connection"),
    };

    public static TheoryData<string> Refused => [.. s_refused.Keys];

    [Theory]
    [MemberData(nameof(Refused))]
    public void Server_that_cannot_be_used_is_refused_in_words(string name)
    {
        var (greets, status, why) = s_refused[name];
        using var server = new ScriptedServer(end =>
        {
            greets(end);
            end.Finish();
        });
        using var scene = new SourceScene($"nbd://127.0.0.1:{server.Port}/disk");

        var result = scene.Open();

        Assert.Equal(status, result.Status);
        Assert.Contains(why, result.Why, StringComparison.Ordinal);
        Assert.StartsWith($"nbd://127.0.0.1:{server.Port}/disk: ", result.Why, StringComparison.Ordinal);
        Assert.Null(scene.Source.Identity);
    }

    [Fact]
    public void What_can_never_work_is_not_tried_again()
    {
        using var server = new ScriptedServer(end => end.Greet(flags: 0));
        using var scene = new SourceScene($"nbd://127.0.0.1:{server.Port}/disk");

        Assert.True(scene.Open().IsFinal);
        Assert.True(scene.Open().IsFinal);
        Assert.Equal(1, server.Clients);
    }

    [Theory]
    [InlineData(0, "no server answers")]
    [InlineData(5, "no server answers")]
    [InlineData(18, "does not open the export")]
    public void Handshake_that_stalls_is_given_up(int sent, string why)
    {
        using var server = new ScriptedServer(end =>
        {
            end.Send(Join("NBDMAGICIHAVEOPT"u8.ToArray(), U16(3))[..sent]);
            end.Idle();
        });
        using var scene = new SourceScene($"nbd://127.0.0.1:{server.Port}/disk", times: SourceScene.Impatient);
        var clock = Stopwatch.StartNew();

        var result = scene.Open();

        Assert.Contains(why, result.Why, StringComparison.Ordinal);
        Assert.InRange(clock.ElapsedMilliseconds, 250, 3000);
    }

    [Fact]
    public void Nobody_listens()
    {
        int port;
        using (var server = new ScriptedServer())
            port = server.Port;
        using var scene = new SourceScene($"nbd://127.0.0.1:{port}/disk");

        var result = scene.Open();

        Assert.Equal(FetchStatus.Unavailable, result.Status);
        Assert.Contains("connection refused", result.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Host_that_does_not_exist_is_not_there()
    {
        using var scene = new SourceScene("nbd://host.invalid/disk", times: SourceScene.Impatient);

        var result = scene.Open();

        Assert.Equal(FetchStatus.Unavailable, result.Status);
        Assert.Contains("cannot find the host", result.Why, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Server_without_the_option_go_is_asked_in_the_old_way(bool zeroes)
    {
        using var server = new ScriptedServer(end =>
        {
            end.Greet(flags: (ushort)(zeroes ? 1 : 3));
            end.Reply(end.Option().Option, 0x80000001);
            end.Reply(end.Option().Option, 0x80000001);
            var (option, name) = end.Option();
            Assert.Equal((1u, "disk"), (option, Encoding.UTF8.GetString(name)));
            end.Send(U64((ulong)Size), U16(3), new byte[zeroes ? 124 : 0]);
            end.ServeAll(structured: false);
        });
        using var scene = new SourceScene($"nbd://127.0.0.1:{server.Port}/disk");

        var (result, bytes) = scene.Read(4096, 4096);

        Assert.True(result.IsDone, result.Why);
        Assert.Equal(Pattern(4096, 4096), bytes);
        Assert.Equal(new SourceIdentity(Size, null), scene.Source.Identity);
    }

    /// <summary>Bytes that come one by one, or the handshake and the first replies at once: there are no borders in a stream.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Server_may_send_in_pieces_of_any_size(bool structured)
    {
        using var server = new ScriptedServer(end =>
        {
            end.SendsSingly = true;
            end.Open(Size, structured: structured);
            end.ServeAll(structured);
        });
        using var scene = new SourceScene($"nbd://127.0.0.1:{server.Port}/disk");

        foreach (var length in (int[])[1, 500, 3000])
            Assert.Equal(Pattern(77, length), scene.Read(77, length).Bytes);
    }

    [Fact]
    public void Unknown_information_is_passed_over()
    {
        using var server = new ScriptedServer(end =>
        {
            Asked(end);
            end.Reply(7, 3, U16(1234), new byte[10]);
            end.Reply(7, 3, U16(0), U64((ulong)Size), U16(3));
            end.Reply(7, 1);
            end.ServeAll();
        });
        using var scene = new SourceScene($"nbd://127.0.0.1:{server.Port}/disk");

        Assert.True(scene.Read(0, 512).Result.IsDone);
    }

    /// <summary>A pinned root says what the base is; without one NBD cannot.</summary>
    [Fact]
    public void Identity_has_a_version_only_by_a_root()
    {
        using var server = new ScriptedServer(end => end.Open(Size));
        var root = string.Concat(Enumerable.Repeat("0123456789abcdef", 4));
        using var plain = new SourceScene($"nbd://127.0.0.1:{server.Port}/disk");
        using var pinned = new SourceScene($"nbd://127.0.0.1:{server.Port}/disk", new RemoteSettings { Root = root });
        plain.Open();
        pinned.Open();

        Assert.Equal(new SourceIdentity(Size, null), plain.Source.Identity);
        Assert.Equal(new SourceIdentity(Size, "sha256:" + root), pinned.Source.Identity);
    }

    private static void Asked(ServerEnd end)
    {
        end.Greet();
        end.Reply(end.Option().Option, 1);
        end.AfterContext(null);
    }

    private static void AskedForContext(ServerEnd end)
    {
        end.Greet();
        end.Reply(end.Option().Option, 1);
        end.Option();
    }

    private static void Refuses(ServerEnd end, uint error, string text)
    {
        Asked(end);
        end.Reply(7, error, Encoding.UTF8.GetBytes(text));
    }
}
