using System;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Remote.Cache;
using Qcow2Blk.Remote.Http;
using Qcow2Blk.Remote.Manifests;
using Qcow2Blk.Remote.Nbd;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices;

/// <summary>The makers of bases: libcurl's sources, our NBD client, caches on the local disk.</summary>
internal static class RemoteMakers
{
    public static BaseMakers Real { get; } = new()
    {
        CreateSource = CreateSource,
        OpenCache = OpenCacheAsync,
        FindKnown = static (directory, name) =>
            CacheDirectory.FindNewest(directory, name) is { } found ? new SourceIdentity(found.Key.Length, found.Key.Version) : null,
        ParseManifest = static (ReadOnlySpan<byte> file, string root, out IChunkProof? proof) =>
        {
            var wrong = Manifest.Parse(file, root, out var manifest);
            proof = manifest;
            return wrong;
        },
        MaxManifestBytes = Manifest.MaxBytes,
    };

    private static string? CreateSource(RemoteLocation location, RemoteSettings settings, Action<string> report, out IRemoteSource? source)
    {
        if (location.IsHttp)
        {
            var whyNot = HttpSource.Create(location, settings, report, out var http);
            source = http;
            return whyNot;
        }

        var why = NbdSource.Create(location, settings, report, out var nbd);
        source = nbd;
        return why;
    }

    private static async LoopTask<IChunkCache?> OpenCacheAsync(RemoteSettings settings, CacheRequest request, Action<string> report)
    {
        var cache = new CacheSettings(settings.CacheDirectory!, settings.CacheBytes, request.ChunkBytes);
        return await ChunkCache.OpenAsync(cache, new CacheKey(request.Name, request.Version, request.Length), report, request.IsConfirmed);
    }
}
