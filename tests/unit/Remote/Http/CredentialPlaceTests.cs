using System;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Http;
using Qcow2Blk.Tests.Shared;
using Xunit;
using static Qcow2Blk.Tests.Remote.Http.HostileTests;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>
/// Credentials reach the server that they are for, and nobody else: wherever that redirects, and whatever is read beside it.
/// </summary>
[Collection("environment of sources")]
public sealed partial class CredentialPlaceTests : IDisposable
{
    private const string Id = "AKIDEXAMPLE", Secret = "SECRETKEY", Token = "SESSIONTOKEN";

    // Documentation's: nobody is there.
    private const string Nowhere = "192.0.2.1";

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetVariable(string name, string value, int overwrite);

    [LibraryImport("libc", EntryPoint = "unsetenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RemoveVariable(string name);

    private static readonly byte[] s_bytes = SourceScene.Pattern(200_000);
    private static readonly string[] s_variables = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
        "AWS_REGION", "AWS_DEFAULT_REGION", "QCOW2BLK_AUTHORIZATION"];

    private readonly string?[] _before = [.. s_variables.Select(Environment.GetEnvironmentVariable)];
    private readonly TempDirectory _directory = new();

    public CredentialPlaceTests() => Array.ForEach(s_variables, name => Environment.SetEnvironmentVariable(name, null));

    public void Dispose()
    {
        for (var i = 0; i < s_variables.Length; i++)
            Environment.SetEnvironmentVariable(s_variables[i], _before[i]);
        _directory.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Neither_signature_nor_session_token_goes_where_a_store_redirects_to(bool isOtherPort)
    {
        UseKeys();
        using var other = new HostileServer(request => HostileReply.Honest(request, s_bytes));
        var place = "";
        using var server = new HostileServer(request => request.Target == "/disks/base.raw"
            ? new HostileReply(307).With("Location", place) : HostileReply.Honest(request, s_bytes));
        place = isOtherPort ? other.Url("elsewhere")
            : string.Create(CultureInfo.InvariantCulture, $"http://localhost:{server.Port}/elsewhere");
        using var scene = new SourceScene("s3://disks/base.raw", new RemoteSettings { S3Endpoint = server.Url("") });
        AssertDone(scene.Open());
        AssertDone(scene.Read(0, 4096).Result);

        Assert.Equal(Token, server.Requests.First()["x-amz-security-token"]);
        var elsewhere = server.Requests.Concat(other.Requests).Where(request => request.Target == "/elsewhere").ToList();
        Assert.Equal(2, elsewhere.Count);
        Assert.All(elsewhere, AssertShownNothing);
    }

    [Fact]
    public void Place_that_wants_credentials_which_are_not_for_it_is_named()
    {
        UseKeys();
        using var other = new HostileServer(_ => new HostileReply(403));
        using var server = new HostileServer(_ => new HostileReply(307).With("Location",
            string.Create(CultureInfo.InvariantCulture, $"http://localhost:{other.Port}/elsewhere")));
        using var scene = new SourceScene("s3://disks/base.raw", new RemoteSettings { S3Endpoint = server.Url("") });
        var result = scene.Open();
        Assert.Equal(FetchStatus.Denied, result.Status);
        Assert.Contains("status 403 from localhost, where the server redirects to: no credentials go there", result.Why,
            StringComparison.Ordinal);
        Assert.All(other.Requests, AssertShownNothing);
    }

    [Fact]
    public void Region_and_clock_are_the_store_s_to_tell_not_those_of_a_place_that_it_redirects_to()
    {
        UseKeys();
        using var other = new HostileServer(_ => new HostileReply(403)
        {
            Body = "<Error><Code>RequestTimeTooSkewed</Code></Error>"u8.ToArray(),
        }.With("x-amz-bucket-region", "eu-north-1").With("Date", "Mon, 01 Jan 2035 00:00:00 GMT"));
        var verifier = new SigV4Verifier(Id, Secret, "us-east-1", Token);
        var redirects = true;
        using var server = new HostileServer(request => redirects ? new HostileReply(307).With("Location", other.Url("elsewhere"))
            : verifier.Refuse(request.Method, request.Target, request.Headers, DateTimeOffset.UtcNow) is null
            ? HostileReply.Honest(request, s_bytes) : new HostileReply(418));
        using var scene = new SourceScene("s3://disks/base.raw", new RemoteSettings { S3Endpoint = server.Url("") });
        Assert.Equal(FetchStatus.Denied, scene.Open().Status);
        redirects = false;
        AssertDone(scene.Open());
        Assert.Empty(scene.Reports);
    }

    [Fact]
    public void Signed_url_is_not_told_to_where_it_redirects()
    {
        using var other = new HostileServer(request => HostileReply.Honest(request, s_bytes));
        using var server = new HostileServer(_ => new HostileReply(302).With("Location", other.Url("elsewhere")));
        var command = $"echo '{server.Url("signed")}?X-Amz-Signature={Secret}'";
        using var scene = new SourceScene(server.Url(), new RemoteSettings { UrlCommand = command });
        AssertDone(scene.Open());
        Assert.Equal($"/signed?X-Amz-Signature={Secret}", Assert.Single(server.Requests).Target);
        AssertShownNothing(Assert.Single(other.Requests));
    }

    [Theory]
    [InlineData("https://a.example/x", "https://a.example:443/y?z", true)]
    [InlineData("https://a.example/x", "http://a.example/x", false)]
    [InlineData("https://a.example/x", "https://a.example:444/x", false)]
    [InlineData("https://a.example/x", "https://a.example./x", false)]
    [InlineData("https://a.example/x", "https://b.a.example/x", false)]
    public void Another_scheme_port_or_name_is_another_server(string one, string other, bool isSame)
    {
        Assert.Null(HttpTarget.Parse(one, out var first));
        Assert.Null(HttpTarget.Parse(other, out var second));
        Assert.Equal(isSame, second!.HasHostOf(first!));
        Assert.Null(RemoteLocation.Parse(one, out var location));
        Assert.Null(RemoteLocation.Parse(other, out var beside));
        Assert.Equal(isSame, beside!.HasServerOf(location!));
    }

    [Fact]
    public void What_file_and_environment_hold_is_for_the_server_of_the_base()
    {
        var file = _directory.File("credentials");
        File.WriteAllText(file, $"Authorization: {Secret}\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Assert.Equal(Secret, Ask(ofBase: true, new RemoteSettings { CredentialFile = file }));
        Assert.Null(Ask(ofBase: false, new RemoteSettings { CredentialFile = file }));
        Assert.Null(Ask(ofBase: false, new RemoteSettings { CredentialFile = file }, "s3://disks/base.raw"));
        Environment.SetEnvironmentVariable("QCOW2BLK_AUTHORIZATION", Secret);
        Assert.Equal(Secret, Ask(ofBase: true, new RemoteSettings()));
        Assert.Null(Ask(ofBase: false, new RemoteSettings()));
        Assert.Null(Ask(ofBase: false, new RemoteSettings(), "s3://disks/base.raw"));

        // A command is told whom it is for.
        var command = new RemoteSettings { CredentialCommand = "echo \"Authorization: ${1##*/}\"" };
        Assert.Equal("base.raw", Ask(ofBase: false, command));
    }

    [Fact]
    public void Nothing_that_others_could_use_goes_over_an_open_network()
    {
        UseKeys();
        var pinned = new RemoteSettings { Root = new string('0', 64) };
        AssertRefused("s3://disks/base.raw", pinned with { S3Endpoint = $"http://{Nowhere}/" },
            "credentials would be sent to an http endpoint");
        AssertRefused("https://store.example/base.raw", pinned with { UrlCommand = $"echo http://{Nowhere}/base.raw?X-Amz-Signature=x" },
            "the signed URL would be sent");

        // A mirror that anybody may be is asked without.
        var mark = _directory.File("mark");
        Assert.Null(RemoteLocation.Parse("https://store.example/base.raw", out var owner));
        using var mirror = new SourceScene($"http://{Nowhere}/base.raw",
            pinned with { CredentialsOf = owner, CredentialCommand = $"touch {mark}; echo 'Authorization: x'" });
        Assert.Equal(FetchStatus.Unavailable, mirror.Open().Status);
        Assert.False(File.Exists(mark));
    }

    [Fact]
    public void Proxy_before_a_server_gets_none_of_its_credentials()
    {
        Environment.SetEnvironmentVariable("QCOW2BLK_AUTHORIZATION", Secret);
        using var proxy = new HostileServer(_ => new HostileReply(502));
        Assert.Equal(0, SetVariable("https_proxy", proxy.Url(""), 1));
        try
        {
            using var scene = new SourceScene($"https://{Nowhere}/base.raw");
            Assert.Equal(FetchStatus.Unavailable, scene.Open().Status);
            var request = Assert.Single(proxy.Requests);
            Assert.Equal("CONNECT", request.Method);
            AssertShownNothing(request);
        }
        finally
        {
            Assert.Equal(0, RemoveVariable("https_proxy"));
        }
    }

    private static void UseKeys()
    {
        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", Id);
        Environment.SetEnvironmentVariable("AWS_SECRET_ACCESS_KEY", Secret);
        Environment.SetEnvironmentVariable("AWS_SESSION_TOKEN", Token);
    }

    private static void AssertShownNothing(HostileRequest request)
    {
        Assert.Null(request["Authorization"]);
        Assert.DoesNotContain(request.Headers, header => header.Name.StartsWith("x-amz-", StringComparison.OrdinalIgnoreCase));
        var text = request.Target + string.Concat(request.Headers);
        Assert.All((string[])[Id, Secret, Token], secret => Assert.DoesNotContain(secret, text, StringComparison.Ordinal));
    }

    private static void AssertRefused(string url, RemoteSettings settings, string why)
    {
        using var scene = new SourceScene(url, settings);
        var result = scene.Open();
        Assert.Equal(FetchStatus.Unfit, result.Status);
        Assert.Contains(why, result.Why, StringComparison.Ordinal);
    }

    /// <summary>Reads from a server.</summary>
    /// <returns>the Authorization header that it was sent; null for none</returns>
    private static string? Ask(bool ofBase, RemoteSettings settings, string? url = null)
    {
        using var server = new HostileServer(request => HostileReply.Honest(request, s_bytes));
        Assert.Null(RemoteLocation.Parse(ofBase ? server.Url("other") : "https://store.example/base.raw", out var owner));
        using var scene = new SourceScene(url ?? server.Url(), settings with { CredentialsOf = owner, S3Endpoint = server.Url("") });
        AssertDone(scene.Open());
        return Assert.Single(server.Requests)["Authorization"];
    }
}
