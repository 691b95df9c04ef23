using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Remote;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>Ranges from a web server that people use.</summary>
public sealed class NginxTests : IDisposable
{
    private const int Length = (3 << 20) + 123;

    private readonly string _root = Directory.CreateTempSubdirectory("qcow2blk-web-").FullName;
    private readonly byte[] _bytes = SourceScene.Pattern(Length);
    private readonly string _file;

    public NginxTests()
    {
        Assert.SkipWhen(NginxServer.Program is null, "nginx is not installed");
        _file = Path.Combine(_root, "base.raw");
        File.WriteAllBytes(_file, _bytes);
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void Ranges_are_read_as_they_are()
    {
        using var server = new NginxServer(_root);
        using var scene = new SourceScene(server.Url("base.raw"));
        AssertDone(scene.Open());
        Assert.Equal(Length, scene.Identity!.Value.Length);
        Assert.StartsWith("\"", scene.Identity.Value.Version, StringComparison.Ordinal);
        AssertRead(scene, 0, 4096);
        AssertRead(scene, 65536 - 7, 300_001);
        AssertRead(scene, Length - 1, 1);
        AssertRead(scene, 0, Length);
        Assert.All(server.Requests, line => Assert.Contains("\"GET /base.raw ", line, StringComparison.Ordinal));
    }

    [Fact]
    public void Many_ranges_at_a_time_do_not_get_mixed_up()
    {
        using var server = new NginxServer(_root);
        using var scene = new SourceScene(server.Url("base.raw"));
        AssertDone(scene.Open());
        var random = new Random(7);
        for (var round = 0; round < 5; round++)
        {
            var ranges = Enumerable.Range(0, 40).Select(_ => (Offset: (long)random.Next(Length - 262144), Length: 1 + random.Next(262144)))
                .ToArray();
            var results = scene.Read(ranges);
            for (var i = 0; i < ranges.Length; i++)
            {
                AssertDone(results[i].Result);
                Assert.True(_bytes.AsSpan((int)ranges[i].Offset, ranges[i].Length).SequenceEqual(results[i].Bytes), $"range {ranges[i]}");
            }
        }
    }

    [Fact]
    public void Object_that_was_replaced_is_never_mixed_in()
    {
        using var server = new NginxServer(_root);
        using var scene = new SourceScene(server.Url("base.raw"));
        AssertDone(scene.Open());
        AssertRead(scene, 4096, 4096);
        File.WriteAllBytes(_file, SourceScene.Pattern(Length));
        File.SetLastWriteTimeUtc(_file, DateTime.UtcNow.AddMinutes(-5));
        Assert.Equal(FetchStatus.Changed, scene.Read(8192, 4096).Result.Status);
        Assert.Equal(FetchStatus.Changed, scene.Open().Status);
    }

    [Fact]
    public void Object_that_is_gone_is_missing_and_a_server_that_is_gone_unavailable()
    {
        using var server = new NginxServer(_root);
        using var scene = new SourceScene(server.Url("base.raw"));
        AssertDone(scene.Open());
        File.Delete(_file);
        Assert.Equal(FetchStatus.Missing, scene.Read(0, 4096).Result.Status);
        File.WriteAllBytes(_file, []);
        Assert.NotEqual(FetchStatus.Done, scene.Open().Status);
        server.Stop();
        var gone = scene.Read(0, 4096).Result;
        Assert.Equal(FetchStatus.Unavailable, gone.Status);
        Assert.Contains("bytes 0-4095: ", gone.Why, StringComparison.Ordinal);
    }

    private static void AssertDone(FetchResult result) => Assert.True(result.IsDone, $"{result.Status}: {result.Why}");

    private void AssertRead(SourceScene scene, int offset, int length)
    {
        var (result, bytes) = scene.Read(offset, length);
        AssertDone(result);
        Assert.True(_bytes.AsSpan(offset, length).SequenceEqual(bytes), $"{length} bytes at {offset} are others");
    }
}
