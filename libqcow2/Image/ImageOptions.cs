using System;
using Qcow2Blk.Image.Log;

namespace Qcow2Blk.Image;

/// <summary>How an image is opened.</summary>
internal sealed record ImageOptions
{
    /// <summary>Serve reads only; the file is not changed.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Cap in bytes of the cached L2 slices; refcount slices get a quarter of it on top.</summary>
    public long CacheBytes { get; init; } = DefaultCacheBytes;

    /// <summary>Whether the cache takes all its memory at once: a server of a block device must not need more later.</summary>
    public bool ResidentCache { get; init; }

    /// <summary>Where to log changes that are not committed yet (a file on tmpfs); null for no log.</summary>
    public string? RecoveryLog { get; init; }

    /// <summary>Whether the log there is a dead server's, to be replayed first.</summary>
    public bool Replay { get; init; }

    /// <summary>Whether the log there is given up: the image is served as it is, if it has no errors.</summary>
    public bool DiscardLog { get; init; }

    public DiscardMode Discard { get; init; }

    public DetectZeroes DetectZeroes { get; init; }

    /// <summary>ID or name of an internal snapshot to serve read-only instead of the active state.</summary>
    public string? Snapshot { get; init; }

    /// <summary>Bytes of the disk, at least, whose bits are set on disk with the first of them; less is for tests.</summary>
    public long BitmapRegionBytes { get; init; } = 16 << 20;

    /// <summary>Told of trouble that no request reports: corruption found, a sync that failed.</summary>
    public Action<string>? Report { get; init; }

    /// <summary>Told how far work is that comes before the first request: what, and the fraction that is done.</summary>
    public Action<string, double>? Progress { get; init; }

    /// <summary>Maps 256 GiB at 64 KiB clusters; an image is never given more than its size needs.</summary>
    public const long DefaultCacheBytes = 32 << 20;
}
