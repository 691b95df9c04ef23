using Qcow2Blk.Storage;

namespace Qcow2Blk.Remote.Bases;

/// <summary>The file of a cache, to be read straight from, with the reads counted.</summary>
internal sealed class CachedReads(ICachedFile cache, RemoteCounters counters) : ICachedFile
{
    public FileStorage File => cache.File;

    public bool IsThere(long offset, int length, out ulong mark) => cache.IsThere(offset, length, out mark);

    public bool IsStill(long offset, int length, ulong mark)
    {
        if (!cache.IsStill(offset, length, mark))
            return false;
        counters.CountHit(length);
        return true;
    }
}
