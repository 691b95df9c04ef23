using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Tests.Remote.Cache;
using Qcow2Blk.Tests.Remote.Http;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>The command <c>cache</c>, beside caches that are in use.</summary>
public sealed class CacheVerbTests : IDisposable
{
    private const int Chunk = CacheScene.ChunkBytes;
    private const int Base = (3 << 20) + 123;

    private readonly CacheScene _scene = new();
    private readonly TempDirectory _web = new();

    private string Cache => _scene.Settings.Directory;

    public void Dispose()
    {
        _scene.Dispose();
        _web.Dispose();
    }

    [Fact]
    public void List_shows_what_is_stored_and_by_how_many_it_is_used()
    {
        using var first = _scene.Open();
        using var second = _scene.Open();
        _scene.Fill(first, 1, 3);
        Assert.Equal(1, _scene.Claim(first, 4));
        Assert.Equal(1, _scene.Store(first, 4, pin: true));
        var known = Json("list")[0];
        Assert.Equal(_scene.Key.Name, known.GetProperty("name").GetString());
        Assert.Equal(_scene.Key.Version, known.GetProperty("version").GetString());
        Assert.Equal(_scene.Key.Length, known.GetProperty("length").GetInt64());
        Assert.Equal((3 * Chunk) - 1000, known.GetProperty("stored-bytes").GetInt64());
        Assert.Equal(Chunk - 1000, known.GetProperty("pinned-bytes").GetInt64());
        Assert.Equal(2, known.GetProperty("users").GetInt32());
        Assert.False(known.GetProperty("damaged").GetBoolean());
        Assert.Contains(_scene.Key.Name, Passes("list"), StringComparison.Ordinal);
    }

    [Fact]
    public void Base_that_was_neither_confirmed_nor_read_was_never_used()
    {
        _scene.TryOpen(isConfirmed: false)!.Dispose();
        Assert.Equal(JsonValueKind.Null, Json("list")[0].GetProperty("last-use").ValueKind);
        var row = Passes("list").Split('\n')[1];
        Assert.Contains("  never  ", row, StringComparison.Ordinal);
        Assert.DoesNotContain(" d  ", row, StringComparison.Ordinal);

        _scene.Open().Dispose();
        Assert.StartsWith("2026-01-01T", Json("list")[0].GetProperty("last-use").GetString(), StringComparison.Ordinal);
        Assert.DoesNotContain("never", Passes("list"), StringComparison.Ordinal);
    }

    [Fact]
    public void Verify_removes_what_is_wrong_and_says_so()
    {
        using (var cache = _scene.Open())
            _scene.Fill(cache, 0, 1, 2);
        Assert.Contains("3 chunks verified, no errors", Passes("verify"), StringComparison.Ordinal);
        using (var data = File.OpenWrite(Path.Combine(_scene.Entry, "data")))
        {
            data.Position = Chunk + 5;
            data.WriteByte((byte)(_scene.BytesOf(1)[5] ^ 1));
        }

        var (status, output, _) = Run("verify");
        Assert.Equal(1, status);
        Assert.Contains("3 chunks verified, 1 of them wrong and removed", output, StringComparison.Ordinal);
        Assert.Contains("2 chunks verified, no errors", Passes("verify"), StringComparison.Ordinal);
        using var again = _scene.Open();
        Assert.True(_scene.Has(again, 0) && !again.IsStored(1) && _scene.Has(again, 2));
    }

    [Fact]
    public void Verify_removes_an_entry_with_damaged_files()
    {
        using (var cache = _scene.Open())
            _scene.Fill(cache, 0);
        File.WriteAllText(Path.Combine(_scene.Entry, "meta.json"), "{");
        Assert.True(Json("list")[0].GetProperty("damaged").GetBoolean());
        Assert.Contains("(damaged)", Passes("list"), StringComparison.Ordinal);
        var (status, output, _) = Run("verify");
        Assert.Equal(1, status);
        Assert.Contains("its files are damaged: it was removed", output, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_scene.Entry));
    }

    [Fact]
    public void Prune_removes_bases_that_nobody_uses_and_chunks_of_others()
    {
        using (var unused = _scene.TryOpen(_scene.Key with { Version = "\"v2\"" }))
            _scene.Fill(unused!, 0);
        using var used = _scene.Open();
        _scene.Fill(used, 1);
        Assert.Equal(1, _scene.Claim(used, 2));
        Assert.Equal(1, _scene.Store(used, 2, pin: true));
        Assert.Contains(", 1 base removed", Passes("prune", "--all"), StringComparison.Ordinal);
        Assert.Equal([_scene.Entry], Directory.GetDirectories(Cache));
        Assert.False(used.IsStored(1));
        Assert.True(_scene.Has(used, 2));
    }

    [Fact]
    public void Prune_takes_names_ids_sizes_and_ages()
    {
        // The command goes by the real clock, on which these were used on New Year's Day.
        var other = _scene.Key with { Name = "https://store.example/other" };
        using (var cache = _scene.Open())
            _scene.Fill(cache, 0, 1);
        using (var cache = _scene.TryOpen(other))
            _scene.Fill(cache!, 0);
        Assert.StartsWith("0 B freed, 0 bases", Passes("prune", "--older-than", "36500d"), StringComparison.Ordinal);
        Assert.StartsWith("0 B freed, 0 bases", Passes("prune", "--size", "1G"), StringComparison.Ordinal);
        Assert.Contains("1 base removed", Passes("prune", other.Name), StringComparison.Ordinal);
        Assert.Equal([_scene.Entry], Directory.GetDirectories(Cache));
        Assert.Contains("1 base removed", Passes("prune", Path.GetFileName(_scene.Entry)[..8]), StringComparison.Ordinal);
        Assert.Empty(Directory.GetDirectories(Cache));
        _scene.Open().Dispose();
        Assert.Contains("1 base removed", Passes("prune", "--older-than", "1h"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("prune")]
    [InlineData("prune", "--all", "--size", "1M")]
    [InlineData("prune", "--all", "name")]
    [InlineData("prune", "--older-than", "1y")]
    [InlineData("prune", "--older-than", "-1")]
    [InlineData("prune", "--older-than", "99999999999999999999")]
    [InlineData("prune", "--size", "many")]
    [InlineData("prune", "--json", "--all")]
    [InlineData("list", "--all")]
    [InlineData("list", "--insecure")]
    [InlineData("prefetch")]
    [InlineData("prefetch", "https://a.example/", "https://b.example/")]
    [InlineData("prefetch", "file:///etc/passwd")]
    [InlineData("prefetch", "https://a.example/", "--mirror", "https://b.example/")]
    [InlineData("eat")]
    public void What_makes_no_sense_is_refused(params string[] arguments) => Assert.Equal(2, Run(arguments).Status);

    [Fact]
    public void A_base_that_the_cache_does_not_have_is_not_found() => Assert.Equal(3, Run("verify", "https://store.example/none").Status);

    [Fact]
    public void Prefetch_stores_all_of_a_base()
    {
        Assert.SkipWhen(NginxServer.Program is null, "nginx is not installed");
        File.WriteAllBytes(_web.File("base.raw"), SourceBytes.Of(1, Base));
        using var server = new NginxServer(_web.File("."));
        Assert.Contains("3 MiB of 3 MiB in the cache", Passes("prefetch", server.Url("base.raw")), StringComparison.Ordinal);
        Assert.Equal(Base, Json("list")[0].GetProperty("stored-bytes").GetInt64());
        Assert.Contains("13 chunks verified, no errors", Passes("verify"), StringComparison.Ordinal);
        var data = File.ReadAllBytes(Directory.GetFiles(Cache, "data", SearchOption.AllDirectories).Single());
        Assert.Equal(SourceBytes.Of(1, Base), data.Take(Base));

        // And asks for nothing that is there, nor shows what a query may be.
        var before = server.Requests.Length;
        Assert.DoesNotContain("s3cret", Passes("prefetch", server.Url("base.raw?signature=s3cret")), StringComparison.Ordinal);
        Assert.InRange(server.Requests.Length - before, 0, 1);
    }

    [Fact]
    public void Prefetch_stores_and_pins_what_a_trace_names()
    {
        Assert.SkipWhen(NginxServer.Program is null, "nginx is not installed");
        File.WriteAllBytes(_web.File("base.raw"), SourceBytes.Of(1, Base));
        using var server = new NginxServer(_web.File("."));
        Passes("prefetch", server.Url("base.raw"));
        var version = Json("list")[0].GetProperty("version").GetString();
        Passes("prune", "--all");
        var trace = _web.File("boot.trace");
        File.WriteAllText(trace, Qcow2Blk.Remote.Bases.BootTrace.Header("base", version, Base,
            262144) + "\n{\"offset\":2621440,\"ms\":1}\n");
        Passes("prefetch", server.Url("base.raw"), "--trace", trace);
        var known = Json("list")[0];
        Assert.True(known.GetProperty("pinned-bytes").GetInt64() >= 262144, known.ToString());
        File.WriteAllText(trace, Qcow2Blk.Remote.Bases.BootTrace.Header("base", "\"other\"", Base, 262144) + "\n");
        var (status, _, errors) = Run("prefetch", server.Url("base.raw"), "--trace", trace);
        Assert.Equal(1, status);
        Assert.Contains("it is of another base", errors, StringComparison.Ordinal);
    }

    private (int Status, string Output, string Errors) Run(params string[] arguments) =>
        Command.Run(["cache", .. arguments, "--cache-dir", Cache]);

    private string Passes(params string[] arguments)
    {
        var (status, output, errors) = Run(arguments);
        Assert.True(status == 0, errors + output);
        return output;
    }

    private JsonElement Json(string action) => JsonDocument.Parse(Passes(action, "--json")).RootElement;
}
