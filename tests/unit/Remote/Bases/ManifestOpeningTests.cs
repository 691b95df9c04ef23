using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>Where a manifest is looked for, and what is kept of it. Here one is right if it holds its own root.</summary>
public sealed class ManifestOpeningTests : IDisposable
{
    private const string Base = "https://store.example/base?signature=1", Beside = "https://store.example/base.qcm?signature=1";

    private static readonly string s_root = new('1', 64);
    private static readonly FetchResult s_missing = new(FetchStatus.Missing, "status 404");

    private readonly SimulatedLoop _loop = new(1);
    private readonly TempDirectory _place = new();
    private readonly Dictionary<string, FakeSource> _objects = [];
    private readonly List<string> _asked = [];
    private int _most = 1000;

    private string Kept => Path.Combine(_place.File("cache"), "manifests", s_root + ".qcm");

    private static RemoteSettings Settings => new() { Root = s_root };

    [Fact]
    public void It_lies_beside_the_base_under_the_same_query()
    {
        Put(Beside, s_root);
        Assert.Equal(s_root, Load(Base, Settings));
        Assert.Equal([Beside], _asked);
    }

    [Fact]
    public void It_may_lie_beside_a_mirror_that_has_files()
    {
        Put(Beside, "another");
        Put("https://mirror.example/base.qcm", s_root);
        var settings = Settings with { Mirrors = ["nbd://mirror.example/base", "https://mirror.example/base"] };
        Assert.Equal(s_root, Load(Base, settings));
        Assert.Equal([Beside, "https://mirror.example/base.qcm"], _asked);
    }

    [Fact]
    public void It_is_only_where_the_user_says_that_it_is()
    {
        Put(Beside, s_root);
        File.WriteAllText(_place.File("other"), "another");
        Assert.Contains("no root", Refusal(Base, Settings with { Manifest = _place.File("other") }), StringComparison.Ordinal);
        Assert.Empty(_asked);
        File.WriteAllText(_place.File("other"), s_root);
        Assert.Equal(s_root, Load(Base, Settings with { Manifest = _place.File("other") }));
    }

    [Fact]
    public void Export_without_a_place_for_it_needs_to_be_told()
    {
        Assert.Contains("--manifest FILE", Refusal("nbd://store.example/base", Settings), StringComparison.Ordinal);
        Assert.Empty(_asked);
    }

    [Fact]
    public void What_was_right_once_is_kept_for_its_owner_and_asked_for_no_more()
    {
        Put(Beside, s_root);
        var settings = Settings with { CacheDirectory = _place.File("cache") };
        Assert.Equal(s_root, Load(Base, settings));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Kept));
        Assert.Equal(s_root, Load(Base, settings));
        Assert.Single(_asked);

        // Whoever changed it: it is verified each time, and replaced.
        File.WriteAllText(Kept, "another");
        Put(Beside, s_root);
        Assert.Equal(s_root, Load(Base, settings));
        Assert.Equal(2, _asked.Count);
        Assert.Equal(s_root, File.ReadAllText(Kept));
        Assert.Single(Directory.GetFiles(Path.GetDirectoryName(Kept)!));
    }

    [Fact]
    public void What_is_wrong_is_not_kept()
    {
        Put(Beside, "another");
        Refusal(Base, Settings with { CacheDirectory = _place.File("cache") });
        Assert.False(File.Exists(Kept));
    }

    [Fact]
    public void What_is_too_long_to_be_one_is_not_read()
    {
        Put(Beside, s_root + new string('x', 937));
        Assert.Contains("it has 1001 bytes, and 1000 is the most", Refusal(Base, Settings), StringComparison.Ordinal);
        Assert.Empty(_objects[Beside].Reads);
        File.WriteAllText(_place.File("long"), new string('x', 1001));
        Assert.Contains("it has 1001 bytes, and 1000 is the most", Refusal(Base, Settings with { Manifest = _place.File("long") }),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Store_that_does_not_answer_is_asked_a_few_times_and_one_without_it_once()
    {
        var store = Put(Beside, s_root);
        var away = new FetchResult(FetchStatus.Unavailable, "nobody answers");
        store.Next.Enqueue(away);
        store.Next.Enqueue(FetchResult.Done);
        store.Next.Enqueue(away);
        Assert.Equal(s_root, Load(Base, Settings));
        Assert.Equal((3, 2), (store.Opens, store.Reads.Count));

        store.Always = away;
        Assert.Contains("nobody answers", Refusal(Base, Settings), StringComparison.Ordinal);
        Assert.Equal(3 + 4, store.Opens);
        store.Always = s_missing;
        Assert.Contains("status 404", Refusal(Base, Settings), StringComparison.Ordinal);
        Assert.Equal(3 + 4 + 1, store.Opens);
    }

    /// <summary>It is read in pieces: one that fails is not made good by the next.</summary>
    [Fact]
    public void Attempt_of_which_a_part_fails_is_made_again()
    {
        _most = 3 << 20;
        var store = Put(Beside, s_root + new string('x', 2 << 20));
        store.Next.Enqueue(FetchResult.Done);
        store.Next.Enqueue(new FetchResult(FetchStatus.Unavailable, "broken off"));
        Assert.Equal(s_root, Load(Base, Settings));
        Assert.Equal([0L, 0, 1 << 20, 2 << 20], store.Reads);
    }

    public void Dispose()
    {
        _loop.RunUntilIdle();
        _loop.Dispose();
        _place.Dispose();
    }

    private FakeSource Put(string url, string text) => _objects[url] = new FakeSource(url, Encoding.UTF8.GetBytes(text));

    private string Refusal(string url, RemoteSettings settings) => Assert.Throws<IOException>(() => Load(url, settings)).Message;

    private string Load(string url, RemoteSettings settings)
    {
        Assert.Null(RemoteLocation.Parse(url, out var location));
        return _loop.RunUntilComplete(ManifestOpening.LoadAsync(location!, settings, Makers(), new NoLog())).Root;
    }

    private BaseMakers Makers() => new()
    {
        CreateSource = (RemoteLocation location, RemoteSettings _, Action<string> _, out IRemoteSource? source) =>
        {
            _asked.Add(location.Text);
            source = _objects.GetValueOrDefault(location.Text) ?? new FakeSource(location.Text, [0]) { Always = s_missing };
            return null;
        },
        OpenCache = (_, _, _) => new LoopTask<IChunkCache?>((IChunkCache?)null),
        ParseManifest = (ReadOnlySpan<byte> file, string root, out IChunkProof? proof) =>
        {
            proof = file.StartsWith(Encoding.UTF8.GetBytes(root)) ? new NamedProof(root) : null;
            return proof is null ? "it has no root" : null;
        },
        MaxManifestBytes = _most,
        FindKnown = (_, _) => null,
    };

    private sealed class NamedProof(string root) : IChunkProof
    {
        public int ChunkBytes => RemoteSettings.MinChunkBytes;

        public long Length => 1;

        public string Root => root;

        public bool IsZero(long chunk) => false;

        public bool Holds(long chunk, ReadOnlySpan<byte> bytes) => false;
    }
}
