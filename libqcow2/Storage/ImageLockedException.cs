using System;

namespace Qcow2Blk.Storage;

/// <summary>Another process uses the file in a way that excludes ours.</summary>
internal sealed class ImageLockedException : Exception
{
    internal ImageLockedException(string path, LockHolder holder, string conflict)
        : base($"{path} is in use by {holder.Name}: {conflict}")
    {
        Path = path;
        Holder = holder.Name;
        HolderLives = holder.Lives;
        Conflict = conflict;
    }

    public string Path { get; }

    /// <summary>"qemu-nbd (process 1234)", or "another process" where it could not be found.</summary>
    public string Holder { get; }

    /// <summary>Whether the holder is known to live; if not, the lock may be let go by itself in a moment.</summary>
    public bool HolderLives { get; }

    /// <summary>What it does or forbids: "it writes the image".</summary>
    public string Conflict { get; }

    /// <summary>How long the lock was waited for in vain; zero if it was not.</summary>
    public TimeSpan Waited { get; init; }
}
