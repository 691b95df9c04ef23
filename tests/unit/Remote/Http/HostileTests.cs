using System;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Http;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>Whatever a server does: never a wrong byte, never longer than the timeouts, and the status that says what to do.</summary>
public sealed class HostileTests
{
    private const int Length = 1 << 20;
    private const int Offset = 4096, Count = 100_000;

    private static readonly byte[] s_bytes = SourceScene.Pattern(Length);

    public static TheoryData<string> Spoilings => [.. Spoiled.Keys];

    /// <summary>What is done to the answer of a read, and what has to come of it.</summary>
    private static System.Collections.Generic.Dictionary<string, (Func<HostileReply, HostileReply> Spoil, string Status)> Spoiled => new()
    {
        ["another start"] = (reply => reply.With("Content-Range", $"bytes 0-{Count - 1}/{Length}"), "Unavailable"),
        ["another end"] = (reply => reply.With("Content-Range", $"bytes {Offset}-{Offset + Count}/{Length}"), "Unavailable"),
        ["another total"] = (reply => reply.With("Content-Range", $"bytes {Offset}-{Offset + Count - 1}/{Length + 1}"), "Changed"),
        ["unknown total"] = (reply => reply.With("Content-Range", $"bytes {Offset}-{Offset + Count - 1}/*"), "Unavailable"),
        ["nonsense range"] = (reply => reply.With("Content-Range", $"bytes {Offset}-99999999999999999999/{Length}"), "Unavailable"),
        ["no range"] = (reply => reply.With("Content-Range", null), "Unavailable"),
        ["short body"] = (reply => reply with { Body = reply.Body[..^1], ContentLength = Count, Close = true }, "Unavailable"),
        ["short length"] = (reply => reply with { Body = reply.Body[..^1] }, "Unavailable"),
        ["long length"] = (reply => reply with { Body = [.. reply.Body, 1, 2, 3] }, "Unavailable"),
        ["long body without length"] = (reply => reply with { Body = [.. reply.Body, 1, 2, 3], ContentLength = -1 }, "Unavailable"),
        ["short body without length"] = (reply => reply with { Body = reply.Body[..^1], ContentLength = -1 }, "Unavailable"),
        ["another tag"] = (reply => reply.With("ETag", "\"two\""), "Changed"),
        ["weak tag"] = (reply => reply.With("ETag", "W/\"one\""), "Unavailable"),
        ["no tag"] = (reply => reply.With("ETag", null), "Unavailable"),
        ["compressed"] = (reply => reply.With("Content-Encoding", "gzip"), "Unfit"),
        ["whole object"] = (_ => new HostileReply(200) { Body = s_bytes }.With("ETag", "\"one\""), "Unfit"),
        ["precondition failed"] = (_ => new HostileReply(412), "Changed"),
        ["range not satisfiable"] = (_ => new HostileReply(416).With("Content-Range", "bytes */17"), "Changed"),
        ["not found"] = (_ => new HostileReply(404), "Missing"),
        ["gone"] = (_ => new HostileReply(410), "Missing"),
        ["forbidden"] = (_ => new HostileReply(403), "Denied"),
        ["unauthorized"] = (_ => new HostileReply(401), "Denied"),
        ["slow down"] = (_ => new HostileReply(503), "Unavailable"),
        ["too many"] = (_ => new HostileReply(429), "Unavailable"),
        ["teapot"] = (_ => new HostileReply(418), "Unavailable"),
        ["no content"] = (_ => new HostileReply(204), "Unavailable"),
        ["endless error"] = (_ => new HostileReply(500) { Body = new byte[1 << 20] }, "Unavailable"),
        ["no answer"] = (reply => reply with { Wait = 3000 }, "Unavailable"),
        ["stall"] = (reply => reply with { StopAfter = 5000, Stall = 3000 }, "Unavailable"),
        ["drip"] = (reply => reply with { Drip = 20 }, "Unavailable"),
        ["reset"] = (reply => reply with { StopAfter = 5000, Reset = true }, "Unavailable"),
        ["huge header"] = (reply => reply.With("X-Huge", new string('x', 60_000)).With("X-More", new string('x', 60_000)), "Unavailable"),
        ["redirect without a place"] = (_ => new HostileReply(302), "Unavailable"),
        ["redirect to a file"] = (_ => new HostileReply(302).With("Location", "file:///etc/passwd"), "Unfit"),
        ["redirect to plain http elsewhere"] = (_ => new HostileReply(302).With("Location", "http://192.0.2.1/base.raw"), "Unfit"),
    };

    [Theory]
    [MemberData(nameof(Spoilings))]
    public void Spoiled_answer_is_never_delivered(string what)
    {
        var (spoil, status) = Spoiled[what];
        var opened = false;
        using var server = new HostileServer(request =>
        {
            var reply = HostileReply.Honest(request, s_bytes);
            return Volatile.Read(ref opened) && request.Range.Start == Offset ? spoil(reply) : reply;
        });
        using var scene = new SourceScene(server.Url());
        AssertDone(scene.Open());
        Volatile.Write(ref opened, true);
        var time = Stopwatch.StartNew();
        var (result, _) = scene.Read(Offset, Count);
        Assert.True(time.ElapsedMilliseconds < 2500, $"it took {time.ElapsedMilliseconds} ms");
        Assert.Equal(status, result.Status.ToString());
        Assert.StartsWith(server.Url() + ": ", result.Why, StringComparison.Ordinal);

        // What came before and what comes after is right.
        var (after, bytes) = scene.Read(Offset + Count, Count);
        AssertDone(after);
        Assert.True(s_bytes.AsSpan(Offset + Count, Count).SequenceEqual(bytes));
    }

    [Theory]
    [InlineData("whole object", "Unfit")]
    [InlineData("no range", "Unfit")]
    [InlineData("unknown total", "Unfit")]
    [InlineData("compressed", "Unfit")]
    [InlineData("weak tag", "Unfit")]
    [InlineData("no tag", "Unfit")]
    [InlineData("teapot", "Unfit")]
    [InlineData("range not satisfiable", "Unfit")]
    [InlineData("not found", "Missing")]
    [InlineData("forbidden", "Denied")]
    [InlineData("slow down", "Unavailable")]
    [InlineData("no answer", "Unavailable")]
    public void Server_that_cannot_serve_a_base_is_refused_when_it_is_opened(string what, string status)
    {
        using var server = new HostileServer(request =>
        {
            var reply = HostileReply.Honest(request, s_bytes);
            return what == "unknown total" ? reply.With("Content-Range", "bytes 0-65535/*") : Spoiled[what].Spoil(reply);
        });
        using var scene = new SourceScene(server.Url());
        Assert.Equal(status, scene.Open().Status.ToString());
        Assert.Null(scene.Identity);
        Assert.Equal(FetchStatus.Unavailable, scene.Read(0, 4096).Result.Status);
    }

    [Theory]
    [InlineData("W/\"weak\"")]
    [InlineData(null)]
    public void Server_without_a_strong_tag_will_do_if_nobody_minds_or_a_manifest_verifies(string? tag)
    {
        using var server = new HostileServer(request => HostileReply.Honest(request, s_bytes, tag));
        foreach (var settings in new RemoteSettings[] { new() { AllowUnverified = true }, new() { Root = new string('0', 64) } })
        {
            using var scene = new SourceScene(server.Url(), settings);
            AssertDone(scene.Open());
            Assert.Equal(new SourceIdentity(Length, null), scene.Identity);
            AssertDone(scene.Read(0, 4096).Result);
        }
    }

    [Fact]
    public void Version_of_a_bucket_does_where_there_is_no_tag()
    {
        var version = "v1";
        using var server = new HostileServer(request => HostileReply.Honest(request, s_bytes, null).With("x-amz-version-id", version));
        using var scene = new SourceScene(server.Url());
        AssertDone(scene.Open());
        AssertDone(scene.Read(0, 4096).Result);
        version = "v2";
        Assert.Equal(FetchStatus.Changed, scene.Read(0, 4096).Result.Status);
    }

    [Fact]
    public void Each_range_is_conditional_and_never_a_head()
    {
        using var server = new HostileServer(request => HostileReply.Honest(request, s_bytes));
        using var scene = new SourceScene(server.Url("base.raw?signature=1%2F2&x=%7e"));
        AssertDone(scene.Open());
        AssertDone(scene.Read(8192, 4096).Result);
        var requests = server.Requests.ToArray();
        Assert.All(requests, request => Assert.Equal("GET", request.Method));
        Assert.All(requests, request => Assert.Equal("identity", request["Accept-Encoding"]));
        Assert.All(requests, request => Assert.Equal("/base.raw?signature=1%2F2&x=%7e", request.Target));
        Assert.Null(requests[0]["If-Match"]);
        Assert.Equal("\"one\"", requests[1]["If-Match"]);
        Assert.Equal((8192, 12287), requests[1].Range);
    }

    [Theory]
    [InlineData("3", 3)]
    [InlineData("86400", 30)]
    [InlineData("99999999999999999999", null)]
    [InlineData("soon", null)]
    public void Retry_after_is_heeded_within_reason(string value, int? seconds)
    {
        using var server = new HostileServer(_ => new HostileReply(503).With("Retry-After", value));
        using var scene = new SourceScene(server.Url());
        Assert.Equal(seconds, (int?)scene.Open().RetryAfter?.TotalSeconds);
    }

    [Fact]
    public void Retry_after_a_date_is_heeded()
    {
        using var server = new HostileServer(_ => new HostileReply(503).With("Retry-After", DateTime.UtcNow.AddSeconds(20).ToString("r")));
        using var scene = new SourceScene(server.Url());
        Assert.InRange(scene.Open().RetryAfter!.Value.TotalSeconds, 15, 20);
    }

    [Fact]
    public void Object_must_be_the_one_that_is_expected()
    {
        using var server = new HostileServer(request => HostileReply.Honest(request, s_bytes));
        using var scene = new SourceScene(server.Url());
        Assert.Equal(FetchStatus.Changed, scene.Open(new SourceIdentity(Length, "\"other\"")).Status);
        Assert.Equal(FetchStatus.Changed, scene.Open(new SourceIdentity(Length - 1, null)).Status);
        Assert.Null(scene.Identity);
        AssertDone(scene.Open(new SourceIdentity(Length, null)));
        AssertDone(scene.Open(new SourceIdentity(Length, "\"one\"")));
    }

    [Fact]
    public void Object_shorter_than_the_first_request_is_opened_and_an_empty_one_refused()
    {
        var content = s_bytes[..10];
        using var server = new HostileServer(request => content.Length == 0
            ? new HostileReply(416).With("Content-Range", "bytes */0") : HostileReply.Honest(request, content));
        using var scene = new SourceScene(server.Url());
        AssertDone(scene.Open());
        Assert.Equal(content, scene.Read(0, 10).Bytes);
        content = [];
        Assert.Equal(FetchStatus.Unfit, scene.Open().Status);
    }

    [Fact]
    public void Connection_is_used_again_after_a_refusal_with_a_short_body()
    {
        using var server = new HostileServer(request => request.Range.Start == 0
            ? HostileReply.Honest(request, s_bytes) : new HostileReply(503) { Body = new byte[1000] });
        using var scene = new SourceScene(server.Url());
        AssertDone(scene.Open());
        for (var i = 0; i < 20; i++)
            Assert.Equal(FetchStatus.Unavailable, scene.Read(4096, 4096).Result.Status);
        AssertDone(scene.Read(0, 4096).Result);
    }

    [Fact]
    public void Closing_ends_what_is_under_way()
    {
        using var server = new HostileServer(
            request => HostileReply.Honest(request, s_bytes) with { Wait = request.Range.Start == 0 ? 0 : 5000 });
        using var scene = new SourceScene(server.Url(), timeouts: HttpTimeouts.Default);
        AssertDone(scene.Open());
        var time = Stopwatch.StartNew();
        Assert.Equal(FetchStatus.Unavailable, scene.ReadAndClose(4096, 4096).Status);
        Assert.True(time.ElapsedMilliseconds < 2000, $"it took {time.ElapsedMilliseconds} ms");
        Assert.Equal(FetchStatus.Unavailable, scene.Read(4096, 4096).Result.Status);
    }

    internal static void AssertDone(FetchResult result) => Assert.True(result.IsDone, $"{result.Status}: {result.Why}");
}
