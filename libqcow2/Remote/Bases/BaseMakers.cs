using System;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>What bases are made of, and by whom: tests put others in the place of the real ones.</summary>
internal sealed record BaseMakers
{
    public required CreateSource CreateSource { get; init; }

    /// <summary>Opens the cache of a base; null if there can be none.</summary>
    public required Func<RemoteSettings, CacheRequest, Action<string>, LoopTask<IChunkCache?>> OpenCache { get; init; }

    public required ParseManifest ParseManifest { get; init; }

    /// <summary>Bytes that a manifest may have.</summary>
    public required int MaxManifestBytes { get; init; }

    /// <summary>
    /// What the newest cache of a base holds, by the directory of caches and the name of the base, for a start while its source is
    /// away; null if there is none.
    /// </summary>
    public required Func<string, string, SourceIdentity?> FindKnown { get; init; }
}
