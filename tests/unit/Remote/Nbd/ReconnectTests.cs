using System;
using System.Linq;
using System.Threading;
using Qcow2Blk.Remote;
using Xunit;
using static Qcow2Blk.Tests.Remote.Nbd.ServerEnd;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>Replies of every right shape; connections that are lost and made again; several of them.</summary>
public sealed class ReconnectTests
{
    private const long Size = 8 << 20;

    [Fact]
    public void Server_that_goes_is_connected_to_again_with_the_next_call()
    {
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size);
                var request = end.Next();
                end.Data(request, request.Offset, request.Length, done: true);
            },
            Honest);
        using var scene = Scene(server);

        Assert.True(scene.Read(0, 512).Result.IsDone);
        Thread.Sleep(200);
        var (result, bytes) = scene.Read(512, 512);

        Assert.True(result.IsDone, result.Why);
        Assert.Equal(Pattern(512, 512), bytes);
        Assert.Equal(2, server.Clients);
    }

    [Theory]
    [InlineData(Size + 512, "a disk", "its size was 8388608 bytes and is 8389120")]
    [InlineData(Size, "another disk", "its description was \"a disk\" and is \"another disk\"")]
    [InlineData(Size, null, "its description was \"a disk\" and is not given")]
    public void Other_export_under_the_same_name_is_never_read_again(long size, string? description, string why)
    {
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size, description: "a disk");
                end.Next();
            },
            end =>
            {
                end.Open(size, description: description);
                end.ServeAll();
            });
        using var scene = Scene(server);
        Assert.False(scene.Read(0, 512).Result.IsDone);

        var (result, _) = scene.Read(0, 512);

        Assert.Equal(FetchStatus.Changed, result.Status);
        Assert.Contains(why, result.Why, StringComparison.Ordinal);
        Assert.Equal(FetchStatus.Changed, scene.Open().Status);
        Assert.Equal(2, server.Clients);
    }

    /// <summary>A manifest gives a length; which version it has, only HTTP knows.</summary>
    [Theory]
    [InlineData(null, true)]
    [InlineData("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true)]
    [InlineData("sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", false)]
    public void Version_counts_where_both_sides_have_one(string? version, bool isSame)
    {
        using var server = new ScriptedServer(Honest);
        using var scene = new SourceScene($"nbd://127.0.0.1:{server.Port}/",
            new RemoteSettings { Root = "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef" });

        var status = scene.Open(new SourceIdentity(Size, version)).Status;

        Assert.Equal(isSame ? FetchStatus.Done : FetchStatus.Changed, status);
    }

    [Fact]
    public void Export_that_is_not_the_expected_one_is_changed()
    {
        using var server = new ScriptedServer(Honest);
        using var scene = Scene(server);

        Assert.True(scene.Open(new SourceIdentity(Size, null)).IsDone);
        var result = scene.Open(new SourceIdentity(Size - 512, null));

        Assert.Equal(FetchStatus.Changed, result.Status);
        Assert.Equal(FetchStatus.Changed, scene.Read(0, 512).Result.Status);
    }

    [Fact]
    public void Reply_may_come_in_pieces_in_any_order_with_holes()
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size);
            var request = end.Next();
            end.Data(request, request.Offset + 3000, 1096, done: false);
            end.Hole(request, request.Offset + 1000, 1000, done: false);
            end.Data(request, request.Offset, 1000, done: false);
            end.Data(request, request.Offset + 2000, 1000, done: false);
            end.Chunk(request.Cookie, 1, 0);
            end.ServeAll();
        });
        using var scene = Scene(server);

        var (result, bytes) = scene.Read(8192, 4096);

        var expected = Pattern(8192, 4096);
        expected.AsSpan(1000, 1000).Clear();
        Assert.True(result.IsDone, result.Why);
        Assert.Equal(expected, bytes);
    }

    /// <summary>Several replies at a time, their pieces between each other.</summary>
    [Fact]
    public void Replies_are_told_apart_by_their_cookies()
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size);
            var requests = Enumerable.Range(0, 4).Select(_ => end.Next()).Reverse().ToArray();
            foreach (var half in (int[])[0, 1])
            {
                foreach (var request in requests)
                    end.Data(request, request.Offset + (ulong)(half * 2048), 2048, done: half == 1);
            }

            end.Idle();
        });
        using var scene = Scene(server);

        var results = scene.ReadTogether((0, 4096), (4096, 4096), (81920, 4096), (65536, 4096));

        Assert.Equal([Pattern(0, 4096), Pattern(4096, 4096), Pattern(81920, 4096), Pattern(65536, 4096)],
            results.Select(read => read.Bytes));
        Assert.Equal(1, server.Clients);
    }

    [Theory]
    [InlineData(true, 5u, false, "input/output error: the medium")]
    [InlineData(true, 1u, true, "not permitted: the medium")]
    [InlineData(false, 5u, false, "input/output error")]
    [InlineData(false, 22u, false, "invalid")]
    public void Error_of_one_read_leaves_the_connection_as_it_is(bool structured, uint error, bool isDenied, string why)
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size, structured: structured);
            var request = end.Next();
            if (structured)
            {
                // Data before and after the error does not make it good.
                end.Data(request, request.Offset, 100, done: false);
                end.Chunk(request.Cookie, 0, 0x8002, U32(error), U16(10), "the medium"u8.ToArray(), U64(request.Offset + 100));
                end.Data(request, request.Offset + 100, request.Length - 100, done: true);
            }
            else
            {
                end.Simple(request.Cookie, error);
            }

            end.ServeAll(structured);
        });
        using var scene = Scene(server);

        var (result, _) = scene.Read(0, 4096);
        var (next, bytes) = scene.Read(0, 4096);

        Assert.Equal(isDenied ? FetchStatus.Denied : FetchStatus.Unavailable, result.Status);
        Assert.Contains(why, result.Why, StringComparison.Ordinal);
        Assert.True(next.IsDone);
        Assert.Equal(Pattern(0, 4096), bytes);
        Assert.Equal(1, server.Clients);
    }

    [Theory]
    [InlineData(0, 4096)]
    [InlineData(1, 1)]
    [InlineData(511, 2)]
    [InlineData(513, 4000)]
    [InlineData((int)Size - 700, 700)]
    [InlineData(100, 300000)]
    public void Requests_are_whole_blocks_no_longer_than_the_server_takes(long offset, int length)
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size, minBlock: 512, maxBlock: 65536);
            while (true)
            {
                var request = end.Next();
                if (request.Offset % 512 != 0 || request.Length % 512 != 0 || request.Length > 65536
                    || request.Offset + (ulong)request.Length > (ulong)Size)
                {
                    end.Chunk(request.Cookie, 1, 0x8001, U32(22), U16(0));
                }
                else
                {
                    end.Data(request, request.Offset, request.Length, done: true);
                }
            }
        });
        using var scene = Scene(server);

        var (result, bytes) = scene.Read(offset, length);

        Assert.True(result.IsDone, result.Why);
        Assert.Equal(Pattern((ulong)offset, length), bytes);
    }

    [Fact]
    public void Busy_source_opens_up_to_four_connections_if_the_server_allows_it()
    {
        using var server = new ScriptedServer(end =>
        {
            end.Open(Size, ServerEnd.SeveralConnections);
            end.ServeAll();
        });
        using var scene = Scene(server);

        for (var round = 0; round < 10; round++)
            ReadMany(scene);

        Assert.Equal((4, 4), (server.Clients, scene.Source.Connections));
    }

    [Fact]
    public void Busy_source_has_one_connection_if_the_server_does_not_allow_more()
    {
        using var server = new ScriptedServer(Honest);
        using var scene = Scene(server);

        for (var round = 0; round < 5; round++)
            ReadMany(scene);

        Assert.Equal(1, server.Clients);
    }

    [Fact]
    public void Other_connections_have_to_lead_to_the_same_export()
    {
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size, ServerEnd.SeveralConnections);
                end.ServeAll();
            },
            end =>
            {
                end.Open(Size * 2, ServerEnd.SeveralConnections);
                end.ServeAll();
            });
        using var scene = Scene(server);

        for (var round = 0; round < 50 && scene.Open().IsDone; round++)
            scene.ReadTogether([.. Enumerable.Range(0, 40).Select(i => (i * 65536L, 65536))]);

        Assert.Equal(FetchStatus.Changed, scene.Open().Status);
    }

    [Fact]
    public void Server_that_takes_only_one_client_serves_it()
    {
        using var server = new ScriptedServer(
            end =>
            {
                end.Open(Size, ServerEnd.SeveralConnections);
                end.ServeAll();
            },
            _ => { });
        using var scene = Scene(server);

        for (var round = 0; round < 10; round++)
            ReadMany(scene);

        Assert.Equal(2, server.Clients);
        Assert.Contains("1 connections have to do", Assert.Single(scene.Reports), StringComparison.Ordinal);
    }

    [Fact]
    public void More_reads_than_a_server_would_keep_wait_for_their_turn()
    {
        using var server = new ScriptedServer(Honest);
        using var scene = Scene(server);

        var results = scene.ReadTogether([.. Enumerable.Range(0, 1000).Select(i => (i * 4096L, 4096))]);

        Assert.All(results, read => Assert.True(read.Result.IsDone, read.Result.Why));
        Assert.Equal(Pattern(999 * 4096, 4096), results[999].Bytes);
    }

    private static void ReadMany(SourceScene scene)
    {
        var results = scene.ReadTogether([.. Enumerable.Range(0, 40).Select(i => (i * 65536L, 65536))]);
        for (var i = 0; i < results.Length; i++)
        {
            Assert.True(results[i].Result.IsDone, results[i].Result.Why);
            Assert.Equal(Pattern((ulong)i * 65536, 65536), results[i].Bytes);
        }
    }

    private static void Honest(ServerEnd end)
    {
        end.Open(Size);
        end.ServeAll();
    }

    private static SourceScene Scene(ScriptedServer server) => new($"nbd://127.0.0.1:{server.Port}/");
}
