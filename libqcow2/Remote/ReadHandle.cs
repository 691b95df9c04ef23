using System;

namespace Qcow2Blk.Remote;

/// <summary>
/// A read that is under way at a source, for the one who asked for it: whether anything came, and a way to call it off. Home loop.
/// </summary>
internal sealed class ReadHandle
{
    /// <summary>Whether it has to go over a connection that no other read uses: theirs may be what is stuck.</summary>
    public bool NeedsOwnWay { get; init; }

    /// <summary>Whether the first byte has come. A source that cannot tell leaves it as it is.</summary>
    public bool HasBegun { get; set; }

    public bool IsCancelled { get; private set; }

    /// <summary>What the source does when nobody wants the bytes any more; null while there is nothing that it could do.</summary>
    public Action? Cancelled { get; set; }

    /// <summary>Nobody wants the bytes any more. The memory is the source's until the read ends, which may be at once.</summary>
    public void Cancel()
    {
        IsCancelled = true;
        Cancelled?.Invoke();
    }
}
