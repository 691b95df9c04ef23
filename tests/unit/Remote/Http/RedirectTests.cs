using System;
using System.Globalization;
using System.Linq;
using System.Runtime.InteropServices;
using Qcow2Blk.Remote;
using Qcow2Blk.Tests.Shared;
using Xunit;
using static Qcow2Blk.Tests.Remote.Http.HostileTests;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>Redirects: how far, where to, and what goes along.</summary>
[Collection("environment of sources")]
public sealed partial class RedirectTests : IDisposable
{
    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetVariable(string name, string value, int overwrite);

    [LibraryImport("libc", EntryPoint = "unsetenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RemoveVariable(string name);

    private static readonly byte[] s_bytes = SourceScene.Pattern(200_000);

    private readonly string? _before = Environment.GetEnvironmentVariable("QCOW2BLK_AUTHORIZATION");

    public RedirectTests() => Environment.SetEnvironmentVariable("QCOW2BLK_AUTHORIZATION", "Bearer secret");

    public void Dispose() => Environment.SetEnvironmentVariable("QCOW2BLK_AUTHORIZATION", _before);

    [Fact]
    public void Another_host_gets_no_authorization_and_its_place_is_remembered()
    {
        using var other = new HostileServer(request => HostileReply.Honest(request, s_bytes));
        using var server = new HostileServer(_ => new HostileReply(302).With("Location", other.Url("there?signed=1")));
        using var scene = new SourceScene(server.Url());
        AssertDone(scene.Open());
        var (result, bytes) = scene.Read(4096, 100_000);
        AssertDone(result);
        Assert.True(s_bytes.AsSpan(4096, 100_000).SequenceEqual(bytes));
        Assert.Equal("Bearer secret", Assert.Single(server.Requests)["Authorization"]);
        Assert.Equal(2, other.Requests.Count);
        Assert.All(other.Requests, request => Assert.Null(request["Authorization"]));
        Assert.All(other.Requests, request => Assert.Equal("/there?signed=1", request.Target));
    }

    [Fact]
    public void The_same_host_gets_the_authorization()
    {
        using var server = new HostileServer(request => request.Target == "/base.raw"
            ? new HostileReply(307).With("Location", "/there") : HostileReply.Honest(request, s_bytes));
        using var scene = new SourceScene(server.Url());
        AssertDone(scene.Open());
        Assert.Equal(["/base.raw", "/there"], server.Requests.Select(request => request.Target));
        Assert.All(server.Requests, request => Assert.Equal("Bearer secret", request["Authorization"]));
    }

    [Fact]
    public void Proxy_of_the_environment_takes_nothing_off_this_machine()
    {
        // That of .NET is a copy, which libcurl does not see.
        using var proxy = new HostileServer(_ => new HostileReply(502));
        Assert.Equal(0, SetVariable("http_proxy", proxy.Url(""), 1));
        try
        {
            using var server = new HostileServer(request => HostileReply.Honest(request, s_bytes));
            using var scene = new SourceScene(server.Url());
            AssertDone(scene.Open());
            Assert.Empty(proxy.Requests);
        }
        finally
        {
            Assert.Equal(0, RemoveVariable("http_proxy"));
        }
    }

    [Fact]
    public void Place_that_has_expired_is_looked_up_again()
    {
        var place = "first";
        using var server = new HostileServer(request => request.Target == "/base.raw"
            ? new HostileReply(302).With("Location", "/" + place)
            : request.Target == "/" + place ? HostileReply.Honest(request, s_bytes) : new HostileReply(403));
        using var scene = new SourceScene(server.Url());
        AssertDone(scene.Open());
        place = "second";
        Assert.All(scene.Read((0, 4096), (4096, 4096), (8192, 4096)), each => AssertDone(each.Result));
    }

    [Fact]
    public void Place_is_remembered_for_a_time_only()
    {
        using var server = new HostileServer(request => request.Target == "/base.raw"
            ? new HostileReply(302).With("Location", "/there") : HostileReply.Honest(request, s_bytes));
        using var scene = new SourceScene(server.Url(), timeouts: SourceScene.Short with { RedirectAge = TimeSpan.FromMilliseconds(1) });
        AssertDone(scene.Open());
        System.Threading.Thread.Sleep(5);
        AssertDone(scene.Read(0, 4096).Result);
        Assert.Equal(2, server.Requests.Count(request => request.Target == "/base.raw"));
    }

    [Theory]
    [InlineData(5, "Done")]
    [InlineData(6, "Unavailable")]
    [InlineData(int.MaxValue, "Unavailable")]
    public void Redirects_are_followed_five_times(int count, string status)
    {
        using var server = new HostileServer(request =>
        {
            var hop = int.Parse(request.Target.AsSpan(1), CultureInfo.InvariantCulture);
            return hop >= count ? HostileReply.Honest(request, s_bytes)
                : new HostileReply(301).With("Location", string.Create(CultureInfo.InvariantCulture, $"/{hop + 1}"));
        });
        using var scene = new SourceScene(server.Url("0"));
        Assert.Equal(status, scene.Open().Status.ToString());
        Assert.InRange(server.Requests.Count, 1, 6);
    }

    [Fact]
    public void Moved_object_must_still_be_the_same()
    {
        var away = false;
        using var other = new HostileServer(request => HostileReply.Honest(request, s_bytes, "\"another\""));
        using var server = new HostileServer(request => away
            ? new HostileReply(302).With("Location", other.Url()) : HostileReply.Honest(request, s_bytes));
        using var scene = new SourceScene(server.Url());
        AssertDone(scene.Open());
        away = true;
        Assert.Equal(FetchStatus.Changed, scene.Read(0, 4096).Result.Status);
    }
}
