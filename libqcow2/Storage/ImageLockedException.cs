using System;

namespace Qcow2Blk.Storage;

/// <summary>Another process uses the file in a way that excludes ours.</summary>
public sealed class ImageLockedException : Exception
{
    public ImageLockedException(string path, string holder, string conflict)
        : base($"{path} is in use by {holder}: {conflict}")
    {
        Path = path;
        Holder = holder;
        Conflict = conflict;
    }

    public string Path { get; }

    /// <summary>"qemu-nbd (process 1234)", or "another process" where it could not be found.</summary>
    public string Holder { get; }

    /// <summary>What it does or forbids: "it writes the image".</summary>
    public string Conflict { get; }
}
