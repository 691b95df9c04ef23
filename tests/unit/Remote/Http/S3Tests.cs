using System;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using Qcow2Blk.Remote;
using Qcow2Blk.Tests.Shared;
using Xunit;
using static Qcow2Blk.Tests.Remote.Http.HostileTests;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>Objects in buckets, from a store that checks signatures; and where keys come from.</summary>
[Collection("environment of sources")]
public sealed class S3Tests : IDisposable
{
    private const string Id = "AKIDEXAMPLE", Secret = "secret/key+with=signs";

    private static readonly byte[] s_bytes = SourceScene.Pattern(300_000);
    private static readonly string[] s_variables = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
        "AWS_REGION", "AWS_DEFAULT_REGION", "QCOW2BLK_AUTHORIZATION"];

    private readonly string?[] _before = [.. s_variables.Select(Environment.GetEnvironmentVariable)];
    private readonly TempDirectory _directory = new();
    private TimeSpan _clock;

    public S3Tests() => Array.ForEach(s_variables, name => Environment.SetEnvironmentVariable(name, null));

    public void Dispose()
    {
        for (var i = 0; i < s_variables.Length; i++)
            Environment.SetEnvironmentVariable(s_variables[i], _before[i]);
        _directory.Dispose();
    }

    [Theory]
    [InlineData("base.raw", null)]
    [InlineData("dir/a%20b+c~d=e&f(1)!'*/é.raw", "token/with+signs==")]
    [InlineData("a//b/../c?versionId=x/y", null)]
    public void Requests_are_signed_as_the_store_checks_them(string key, string? token)
    {
        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", Id);
        Environment.SetEnvironmentVariable("AWS_SECRET_ACCESS_KEY", Secret);
        Environment.SetEnvironmentVariable("AWS_SESSION_TOKEN", token);
        using var server = Store(new SigV4Verifier(Id, Secret, "us-east-1", token));
        using var scene = new SourceScene("s3://disks/" + key, new RemoteSettings { S3Endpoint = server.Url("") });
        AssertDone(scene.Open());
        Assert.All(scene.Read((0, 100), (4096, 100_000)), each => AssertDone(each.Result));
        Assert.All(server.Requests, request => Assert.StartsWith("/disks/", request.Target, StringComparison.Ordinal));
        Assert.All(server.Requests, request => Assert.DoesNotContain(Secret, string.Concat(request.Headers), StringComparison.Ordinal));
    }

    [Fact]
    public void Wrong_key_is_denied_and_none_is_anonymous()
    {
        using var server = Store(new SigV4Verifier(Id, Secret, "us-east-1"));
        var settings = new RemoteSettings { S3Endpoint = server.Url("") };
        using (var anonymous = new SourceScene("s3://disks/base.raw", settings))
        {
            Assert.Equal(FetchStatus.Denied, anonymous.Open().Status);
            Assert.Null(server.Requests.Last()["Authorization"]);
        }

        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", Id);
        Environment.SetEnvironmentVariable("AWS_SECRET_ACCESS_KEY", "wrong-secret");
        using var scene = new SourceScene("s3://disks/base.raw", settings);
        var refused = scene.Open();
        Assert.Equal(FetchStatus.Denied, refused.Status);
        Assert.Contains("403 (SignatureDoesNotMatch)", refused.Why, StringComparison.Ordinal);
        Assert.DoesNotContain("wrong-secret", refused.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Region_is_taken_from_the_store_and_the_clock_too()
    {
        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", Id);
        Environment.SetEnvironmentVariable("AWS_SECRET_ACCESS_KEY", Secret);
        _clock = TimeSpan.FromHours(3);
        using var server = Store(new SigV4Verifier(Id, Secret, "eu-north-1"), "eu-north-1");
        using var scene = new SourceScene("s3://disks/base.raw", new RemoteSettings { S3Endpoint = server.Url("") });
        AssertDone(scene.Open());
        Assert.Contains(scene.Reports, report => report.Contains("clock", StringComparison.Ordinal));
        var before = server.Requests.Count;
        AssertDone(scene.Read(0, 4096).Result);
        Assert.Equal(before + 1, server.Requests.Count);
    }

    [Fact]
    public void Command_is_run_again_when_its_keys_are_refused()
    {
        var count = _directory.File("count");
        var command = $"echo x >> {count}; test \"$1\" = s3://disks/base.raw || exit 9; n=$(wc -l < {count}); printf '{{\"Version\":1,"
            + $"\"AccessKeyId\":\"{Id}\",\"SecretAccessKey\":\"key%s\",\"SessionToken\":\"t\"}}' $n";
        var generation = "key1";
        using var server = new HostileServer(request => Answer(request, new SigV4Verifier(Id, generation, "us-east-1", "t"), null));
        using var scene = new SourceScene("s3://disks/base.raw",
            new RemoteSettings { S3Endpoint = server.Url(""), CredentialCommand = command });
        AssertDone(scene.Open());
        generation = "key2";
        Assert.All(scene.Read([.. Enumerable.Repeat((0L, 4096), 16)]), each => AssertDone(each.Result));
        Assert.Equal(2, File.ReadAllLines(count).Length);
        generation = "another";
        Assert.Equal(FetchStatus.Denied, scene.Read(0, 4096).Result.Status);
        Assert.Equal(3, File.ReadAllLines(count).Length);
    }

    [Fact]
    public void Command_runs_again_before_its_keys_end()
    {
        var count = _directory.File("count");
        var end = DateTime.UtcNow.AddSeconds(2).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
        Assert.True(Qcow2Blk.Remote.Http.Keyring.RefreshTime(DateTimeOffset.UtcNow.AddHours(1), DateTimeOffset.UtcNow)
            < DateTimeOffset.UtcNow.AddMinutes(56));
        var command = $"echo x >> {count}; echo '{{\"AccessKeyId\":\"{Id}\",\"SecretAccessKey\":\"{Secret}\",\"Expiration\":\"{end}\"}}'";
        using var server = Store(new SigV4Verifier(Id, Secret, "us-east-1"));
        using var scene = new SourceScene("s3://disks/base.raw",
            new RemoteSettings { S3Endpoint = server.Url(""), CredentialCommand = command });
        AssertDone(scene.Open());
        AssertDone(scene.Read(0, 4096).Result);
        Assert.Single(File.ReadAllLines(count));
    }

    [Fact]
    public void Closing_ends_a_command_that_runs()
    {
        var count = _directory.File("count");
        var command = $"echo x >> {count}; test $(wc -l < {count}) = 1 || sleep 60; echo 'Authorization: abc'";
        using var server = new HostileServer(request =>
            request.Range.Start == 0 ? HostileReply.Honest(request, s_bytes) : new HostileReply(403));
        using var scene = new SourceScene(server.Url(), new RemoteSettings { CredentialCommand = command });
        AssertDone(scene.Open());
        var time = System.Diagnostics.Stopwatch.StartNew();
        Assert.NotEqual(FetchStatus.Done, scene.ReadAndClose(4096, 4096).Status);
        Assert.Equal(2, File.ReadAllLines(count).Length);
        Assert.True(time.ElapsedMilliseconds < 3000, $"it took {time.ElapsedMilliseconds} ms");
    }

    [Theory]
    [InlineData("exit 3", "ended with status 3")]
    [InlineData("echo nonsense-SECRET", "is neither \"Authorization: …\" nor a JSON object")]
    [InlineData("echo 'Authorization: x'; echo SECRET", "has something else than one line")]
    [InlineData("echo '{\"Version\":2,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"SECRET\"}'", "is of another Version")]
    [InlineData("sleep 60", "took longer than 1 s")]
    [InlineData("exec >&-; sleep 60", "did not end")]
    [InlineData("yes SECRET", "printed more than 65536 bytes")]
    public void Command_that_fails_is_told_without_what_it_printed(string command, string why)
    {
        using var server = Store(new SigV4Verifier(Id, Secret, "us-east-1"));
        var settings = new RemoteSettings { S3Endpoint = server.Url(""), CredentialCommand = command };
        using var scene = new SourceScene("s3://disks/base.raw", settings, SourceScene.Short with { Command = TimeSpan.FromSeconds(1) });
        var result = scene.Open();
        Assert.Equal(FetchStatus.Denied, result.Status);
        Assert.Contains($"the credential command {why}", result.Why, StringComparison.Ordinal);
        Assert.DoesNotContain("SECRET", result.Why, StringComparison.Ordinal);
        Assert.Empty(server.Requests);
    }

    [Fact]
    public void File_has_profiles_or_a_header_and_is_read_again()
    {
        var file = _directory.File("credentials");
        Write(file, $"# keys\n[default]\naws_access_key_id = {Id}\naws_secret_access_key=wrong\n[fleet]\n"
            + $"aws_access_key_id = {Id}\naws_secret_access_key = {Secret}\n");
        using var server = Store(new SigV4Verifier(Id, Secret, "us-east-1"));
        var settings = new RemoteSettings { S3Endpoint = server.Url(""), CredentialFile = file };
        using var scene = new SourceScene("s3://disks/base.raw", settings);
        Assert.Equal(FetchStatus.Denied, scene.Open().Status);
        Environment.SetEnvironmentVariable("AWS_PROFILE", "fleet");
        AssertDone(scene.Open());

        Write(file, "Authorization: Bearer abc\n");
        using var plain = new HostileServer(request => request["Authorization"] == "Bearer abc"
            ? HostileReply.Honest(request, s_bytes) : new HostileReply(401));
        using var other = new SourceScene(plain.Url(), new RemoteSettings { CredentialFile = file });
        AssertDone(other.Open());
    }

    [Fact]
    public void File_that_everybody_can_read_is_refused()
    {
        var file = _directory.File("credentials");
        Write(file, "Authorization: Bearer abc\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.OtherRead);
        using var server = new HostileServer(request => HostileReply.Honest(request, s_bytes));
        using var scene = new SourceScene(server.Url(), new RemoteSettings { CredentialFile = file });
        var result = scene.Open();
        Assert.Equal(FetchStatus.Denied, result.Status);
        Assert.Contains("by everybody", result.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Signed_url_is_asked_for_again_when_it_has_expired()
    {
        var count = _directory.File("count");
        using var server = new HostileServer(request =>
            request.Target.EndsWith("n=" + File.ReadAllLines(count).Length, StringComparison.Ordinal)
            ? HostileReply.Honest(request, s_bytes) : new HostileReply(403));
        var command = $"echo x >> {count}; echo \"{server.Url("signed")}?n=$(wc -l < {count})\"";
        using var scene = new SourceScene(server.Url(), new RemoteSettings { UrlCommand = command });
        AssertDone(scene.Open());
        File.AppendAllText(count, "another\n");
        AssertDone(scene.Read(0, 4096).Result);
        Assert.Equal(3, File.ReadAllLines(count).Length);
        Assert.All(server.Requests, request => Assert.StartsWith("/signed?n=", request.Target, StringComparison.Ordinal));
    }

    private static void Write(string path, string text)
    {
        File.WriteAllText(path, text);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    private HostileServer Store(SigV4Verifier verifier, string? region = null) => new(request => Answer(request, verifier, region));

    private HostileReply Answer(HostileRequest request, SigV4Verifier verifier, string? region)
    {
        var now = DateTimeOffset.UtcNow + _clock;
        if (verifier.Refuse(request.Method, request.Target, request.Headers, now) is not { } error)
            return HostileReply.Honest(request, s_bytes);
        var body = $"<?xml version=\"1.0\"?><Error><Code>{error.Split(':')[0]}</Code></Error>";
        var reply = new HostileReply(error.StartsWith("AuthorizationHeader", StringComparison.Ordinal) ? 400 : 403)
        {
            Body = Encoding.ASCII.GetBytes(body),
        }.With("Date", now.ToString("r", CultureInfo.InvariantCulture));
        return region is null ? reply : reply.With("x-amz-bucket-region", region);
    }
}
