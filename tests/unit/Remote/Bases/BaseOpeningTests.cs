using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>What a base is opened as, and what is refused, before anything of it is read.</summary>
public sealed class BaseOpeningTests : IDisposable
{
    private const string Url = "https://store.example/base";

    private readonly SimulatedLoop _loop = new(1);
    private readonly byte[] _content = new byte[10 * RemoteSettings.MinChunkBytes];
    private readonly List<CacheRequest> _requests = [];
    private readonly List<FakeSource> _sources = [];
    private readonly List<(string Url, string? CredentialsOf)> _asked = [];
    private Func<FakeSource> _create;
    private SourceIdentity? _known;

    public BaseOpeningTests()
    {
        new Random(7).NextBytes(_content);
        _create = () => new FakeSource(Url, _content);
    }

    private static RemoteSettings Settings => new()
    {
        ChunkBytes = RemoteSettings.MinChunkBytes,
        CacheDirectory = "/nowhere",
        SourceTimeout = TimeSpan.FromSeconds(1),
    };

    [Fact]
    public void A_base_is_kept_under_the_version_that_its_source_confirms()
    {
        using var storage = Open(Settings);
        Assert.Equal(
            new CacheRequest(Url, "\"one\"", _content.Length, RemoteSettings.MinChunkBytes, IsConfirmed: true), Assert.Single(_requests));
        Assert.Equal(0, Read(storage, 100));
    }

    [Fact]
    public void What_has_no_version_is_refused_or_kept_where_no_later_start_looks()
    {
        _create = () => new FakeSource(Url, _content, version: null);
        Assert.Contains("--unverified", Refusal(Settings), StringComparison.Ordinal);
        Open(Settings with { AllowUnverified = true }).Dispose();
        using var again = Open(Settings with { AllowUnverified = true });
        Assert.Equal(2, _requests.Count);
        Assert.NotEqual(_requests[0].Version, _requests[1].Version);
        Assert.All(_requests, request => Assert.False(request.IsConfirmed));
    }

    [Fact]
    public void A_start_without_the_source_goes_by_what_is_known_and_confirms_nothing()
    {
        _create = () => new FakeSource(Url, _content) { Always = new FetchResult(FetchStatus.Unavailable, "nobody answers") };
        Assert.Contains("nobody answers", Refusal(Settings), StringComparison.Ordinal);
        _known = new SourceIdentity(_content.Length, "\"zero\"");
        using var storage = Open(Settings);
        var request = Assert.Single(_requests);
        Assert.Equal(("\"zero\"", false), (request.Version, request.IsConfirmed));

        // The source comes back with another version: nothing of it may be mixed with what the cache has.
        _sources[^1].Always = null;
        Assert.Equal(-Errno.EIO, Read(storage, 100));
        Assert.Equal(SourceState.Failed, storage.State);
    }

    [Fact]
    public void A_source_that_will_never_do_is_not_replaced_by_the_cache()
    {
        _known = new SourceIdentity(_content.Length, "\"one\"");
        _create = () => new FakeSource(Url, _content) { Always = new FetchResult(FetchStatus.Unfit, "it sends no ranges") };
        Assert.Contains("it sends no ranges", Refusal(Settings), StringComparison.Ordinal);
        Assert.Empty(_requests);
    }

    [Fact]
    public void What_is_read_beside_a_base_is_told_whose_the_credentials_are()
    {
        using var storage = Open(Settings with { Mirrors = ["https://mirror.example/base"], Trace = "https://trace.example/trace" });
        _loop.RunUntilIdle();
        Assert.Equal([(Url, null), ("https://mirror.example/base", Url), ("https://trace.example/trace", Url)], _asked);
    }

    [Fact]
    public void Without_a_cache_nothing_is_known()
    {
        _known = new SourceIdentity(_content.Length, "\"one\"");
        _create = () => new FakeSource(Url, _content) { Always = new FetchResult(FetchStatus.Unavailable, "nobody answers") };
        Assert.Contains("nobody answers", Refusal(Settings with { CacheDirectory = null }), StringComparison.Ordinal);
    }

    [Fact]
    public void A_base_without_bytes_is_refused()
    {
        _create = () => new FakeSource(Url, []);
        Assert.Contains("it has 0 bytes", Refusal(Settings), StringComparison.Ordinal);
    }

    [Fact]
    public void What_anybody_on_the_way_could_change_or_read_is_refused()
    {
        const string plain = "http://store.example/base";
        Assert.Contains("--sha256", Refusal(Settings, plain), StringComparison.Ordinal);
        Assert.Contains("credentials", Refusal(Settings with { CredentialFile = "/keys", Root = new string('0', 64) }, plain),
            StringComparison.Ordinal);
        Open(Settings with { AllowInsecure = true }, plain).Dispose();
        Open(Settings, "http://127.0.0.1/base").Dispose();
    }

    public void Dispose()
    {
        _loop.RunUntilIdle();
        _loop.Dispose();
    }

    private string Refusal(RemoteSettings settings, string url = Url) => Assert.Throws<IOException>(() => Open(settings, url)).Message;

    private RemoteStorage Open(RemoteSettings settings, string url = Url)
    {
        Assert.Null(RemoteLocation.Parse(url, out var location));
        return _loop.RunUntilComplete(new BaseOpening(settings, Makers(), new NoLog()).OpenAsync(location!));
    }

    private int Read(RemoteStorage storage, int length) => _loop.Run(async () =>
    {
        var buffer = LoopScheduler.Current.Buffers.Rent(length);
        var result = await storage.ReadAsync(0, buffer);
        if (result == 0)
            Assert.Equal(_content.AsSpan(0, length).ToArray(), buffer.Span.ToArray());
        LoopScheduler.Current.Buffers.Return(buffer);
        return result;
    });

    private BaseMakers Makers() => new()
    {
        CreateSource = (RemoteLocation location, RemoteSettings settings, Action<string> _, out IRemoteSource? source) =>
        {
            _asked.Add((location.Text, settings.CredentialsOf?.Text));
            _sources.Add(_create());
            source = _sources[^1];
            return null;
        },
        OpenCache = (settings, request, _) =>
        {
            _requests.Add(request);
            return new LoopTask<IChunkCache?>(new FakeCache(settings.ChunkBytes));
        },
        ParseManifest = (ReadOnlySpan<byte> _, string _, out IChunkProof? proof) =>
        {
            proof = null;
            return "there is none";
        },
        MaxManifestBytes = 0,
        FindKnown = (_, _) => _known,
    };
}
