using System;

namespace Qcow2Blk.Remote.Cache;

/// <summary>Where chunks are kept, and how many.</summary>
/// <param name="Directory">of all entries: an absolute path</param>
/// <param name="LimitBytes">what all entries together may take; null for a tenth of the file system</param>
/// <param name="ChunkBytes">of a chunk of a new entry: a power of two, from <see cref="RemoteSettings.MinChunkBytes"/></param>
internal sealed record CacheSettings(string Directory, long? LimitBytes = null, int ChunkBytes = RemoteSettings.DefaultChunkBytes)
{
    /// <summary>Tells the time of a last use; tests have one of their own.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>
    /// Milliseconds that a claim of another is waited for: one that was stopped, or whose source is slow, must not keep those waiting who
    /// could have the chunk by themselves.
    /// </summary>
    public int ClaimPatience { get; init; } = 5000;

    /// <summary>Seconds since 1970.</summary>
    public long Now => Clock.GetUtcNow().ToUnixTimeSeconds();
}
