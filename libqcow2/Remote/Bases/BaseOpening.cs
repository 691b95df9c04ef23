using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>Which cache: that of one object, as it was at one time.</summary>
/// <param name="Name">of the object</param>
/// <param name="Version">what tells it from others of that name</param>
/// <param name="Length">its bytes</param>
/// <param name="ChunkBytes">bytes of a chunk</param>
/// <param name="IsConfirmed">whether the source said just now that this is what it has, by a version that it can be held to later</param>
internal readonly record struct CacheRequest(string Name, string Version, long Length, int ChunkBytes, bool IsConfirmed);

/// <summary>From a URL to a base that can be read: its source is asked what it is, its manifest verified, its cache opened.</summary>
/// <param name="settings">what was said about it</param>
/// <param name="makers">who makes its parts</param>
/// <param name="log">told of what was decided, and of trouble later</param>
internal sealed class BaseOpening(RemoteSettings settings, BaseMakers makers, ILog log)
{
    /// <summary>What the version of a base begins with that a manifest pins: its root follows.</summary>
    public const string PinnedVersion = "sha256:";

    // Who attaches waits for it: less than what a request may wait.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    /// <summary>
    /// Opens a base, on its home loop. Reads of it give up soon, as somebody waits for the end of an opening: until
    /// <see cref="RemoteStorage.SetTimeout"/> says that it is served.
    /// </summary>
    /// <exception cref="IOException">it cannot be opened, or must not be without more settings</exception>
    public async LoopTask<RemoteStorage> OpenAsync(RemoteLocation location)
    {
        ArgumentNullException.ThrowIfNull(location);
        RequireTrust(location);
        var proof = settings.Root is null ? null : await ManifestOpening.LoadAsync(location, Beside(location), makers, log);
        var counters = new RemoteCounters();
        var pool = new SourcePool(CreateSources(location), proof, proof is null ? null : new SourceIdentity(proof.Length, null), counters,
            log.Warning);
        IChunkCache? cache = null;
        try
        {
            // With a manifest it is known what the base is: the source is asked when something of it is needed.
            var isAway = proof is null && await pool.OpenAsync(Shorter(s_patience, settings.SourceTimeout)) < 0;
            if (isAway)
                pool = await StartAwayAsync(location, pool, counters);
            var identity = pool.Identity!.Value;
            if (identity.Length is <= 0 or > Format.Limits.MaxFileBytes)
                throw Refused(location, $"it has {identity.Length} bytes");
            if (proof is null && identity.Version is null && !settings.AllowUnverified)
            {
                throw Refused(location, "its source does not show when it has changed: pin the base with --sha256 ROOT, or allow it"
                    + " with --unverified");
            }

            var chunkBytes = proof?.ChunkBytes ?? settings.ChunkBytes;
            var version = proof is not null ? PinnedVersion + proof.Root : identity.Version;

            // What nothing tells from another of its name is kept for this server only, under a name that nobody asks for again.
            var key = new CacheRequest(location.Name, version ?? $"server:{Guid.NewGuid():N}", identity.Length, chunkBytes,
                IsConfirmed: !isAway && proof is null && version is not null);
            cache = settings.CacheDirectory is null ? null : await makers.OpenCache(settings, key, log.Warning);
            var parts = new RemoteParts(identity.Length, chunkBytes, version, pool, cache, proof, counters);
            var storage = new RemoteStorage(location, parts, settings, log.Warning);
            storage.SetTimeout(Shorter(s_patience, settings.SourceTimeout));
            if (settings.Trace is { } trace)
                TraceReplay.RunAsync(storage, trace, version, Beside(location), makers.CreateSource, log).Forget();
            return storage;
        }
        catch
        {
            cache?.Dispose();
            await pool.CloseAsync();
            throw;
        }
    }

    /// <summary>What comes over an open network is used only if something shows that it is what it should be.</summary>
    private void RequireTrust(RemoteLocation location)
    {
        if (location.IsSecure || settings.AllowInsecure)
            return;
        if (settings.HasCredentials)
            throw Refused(location, "credentials would be sent for everybody on the way to read: use https, or allow it with --insecure");
        if (settings.Root is null)
        {
            throw Refused(location, "nothing shows that what comes is what was sent: use https, nbds or a unix socket, pin the base with"
                + " --sha256 ROOT, or allow it with --insecure");
        }
    }

    private List<IRemoteSource> CreateSources(RemoteLocation location)
    {
        var sources = new List<IRemoteSource> { Create(location, settings) };
        foreach (var mirror in settings.Mirrors)
        {
            sources.Add(RemoteLocation.Parse(mirror, out var other) is { } wrong
                ? throw new IOException($"cannot use the mirror {mirror.Split('?')[0]}: {wrong}") : Create(other!, Beside(location)));
        }

        return sources;
    }

    /// <summary>For what is read beside the base, maybe from elsewhere: credentials are for the base.</summary>
    private RemoteSettings Beside(RemoteLocation location) => settings with { CredentialsOf = settings.CredentialsOf ?? location };

    private IRemoteSource Create(RemoteLocation location, RemoteSettings its) =>
        makers.CreateSource(location, its, log.Warning, out var source) is { } why ? throw Refused(location, why) : source!;

    /// <summary>The source does not answer: what the cache has is enough to begin with, and the source may come back.</summary>
    private async LoopTask<SourcePool> StartAwayAsync(RemoteLocation location, SourcePool pool, RemoteCounters counters)
    {
        var why = pool.Failure ?? pool.Trouble ?? "it does not answer";
        var mayBegin = pool.Failure is null && settings.CacheDirectory is not null;
        var known = mayBegin ? makers.FindKnown(settings.CacheDirectory!, location.Name) : null;
        await pool.CloseAsync();
        if (known is null)
            throw Refused(location, why);
        log.Warning($"{location.Name} is away ({why}): starting with what the cache has of it");
        return new SourcePool(CreateSources(location), null, known, counters, log.Warning);
    }

    private static TimeSpan Shorter(TimeSpan one, TimeSpan other) => one < other ? one : other;

    private static IOException Refused(RemoteLocation location, string why) => new($"cannot open {location.Name}: {why}");
}
