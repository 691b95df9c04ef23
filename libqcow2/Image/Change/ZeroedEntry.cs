using Qcow2Blk.Format;

namespace Qcow2Blk.Image.Change;

/// <summary>The entries under which clusters, or some of their subclusters, read as zeroes.</summary>
internal static class ZeroedEntry
{
    /// <summary>The descriptor of a cluster, without extended L2 entries.</summary>
    /// <param name="old">what it is</param>
    /// <param name="raw">its descriptor</param>
    /// <param name="hasBacking">whether something would show through where the entry says nothing</param>
    /// <param name="unmap">whether the host cluster is not to be kept</param>
    /// <param name="geometry">of the image</param>
    public static ulong OfCluster(in L2Entry old, ulong raw, bool hasBacking, bool unmap, in Geometry geometry)
    {
        var hole = geometry.Version >= 3 ? L2Entry.EncodeZero() : 0;
        return old.Kind switch
        {
            L2Kind.Unallocated => hasBacking ? hole : raw,
            L2Kind.Zero => raw,
            L2Kind.ZeroAllocated when !unmap || !old.Copied => raw,
            L2Kind.Data when old.Copied && !unmap && old.Host.Value != 0 => L2Entry.EncodeZeroAllocated(old.Host, copied: true),
            _ => hole,
        };
    }

    /// <summary>The entry of a cluster of which some subclusters become zeroes.</summary>
    /// <param name="old">what it is; all of it becomes zeroes if it is compressed</param>
    /// <param name="stored">as it is stored</param>
    /// <param name="zeroed">bit n: subcluster n</param>
    /// <param name="hasBacking">whether something would show through where the entry says nothing</param>
    /// <param name="unmap">whether the host cluster is not to be kept once nothing is in it</param>
    public static StoredL2Entry OfSubclusters(in L2Entry old, in StoredL2Entry stored, uint zeroed, bool hasBacking, bool unmap)
    {
        if (old.Kind == L2Kind.Compressed)
            return new StoredL2Entry(0, L2Entry.EncodeBitmap(0, L2Entry.AllSubclusters));
        var allocated = old.Allocated & ~zeroed;
        var zeroes = old.Zeroes | (zeroed & (hasBacking ? L2Entry.AllSubclusters : old.Allocated));
        var changes = (allocated, zeroes) != (old.Allocated, old.Zeroes);

        // What is shared is given up when the last of it is not needed any more; what is ours alone may be kept for the next write.
        var isEmpty = old.HasHost && allocated == 0 && (old.Copied ? unmap : changes);
        return isEmpty || changes
            ? new StoredL2Entry(isEmpty ? 0 : stored.Descriptor, L2Entry.EncodeBitmap(allocated, zeroes))
            : stored;
    }
}
