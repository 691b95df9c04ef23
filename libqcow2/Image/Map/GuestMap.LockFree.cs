using System.Runtime.CompilerServices;
using Qcow2Blk.Format;

namespace Qcow2Blk.Image.Map;

/// <summary>Answers from what is cached, without a lock. Any loop.</summary>
internal sealed partial class GuestMap
{
    /// <summary>Whether the range is data in one piece of this image's data storage.</summary>
    /// <param name="offset">on the disk</param>
    /// <param name="length">bytes</param>
    /// <param name="inPlace">whether nothing else may use the clusters: they are to be written</param>
    /// <param name="host">where the piece begins</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryMapRun(GuestOffset offset, int length, bool inPlace, out HostOffset host)
    {
        if (_geometry.HasExtendedL2 | _geometry.HasDataFile)
            return TryMapPieces(offset, length, inPlace, out host);
        var cluster = _geometry.ClusterOf(offset);
        var last = _geometry.ClusterOf(offset + (length - 1));
        host = default;
        if (!TryMapCluster(cluster, inPlace, out var first))
            return false;
        host = first + _geometry.Within(offset);
        for (var next = first + _geometry.ClusterSize; ++cluster <= last; next += _geometry.ClusterSize)
        {
            if (!TryMapCluster(cluster, inPlace, out var here) || here != next)
                return false;
        }

        return true;
    }

    /// <summary>Whether this image is known to hold nothing in the range but zeroes.</summary>
    /// <param name="offset">on the disk</param>
    /// <param name="length">bytes</param>
    /// <param name="unallocated">whether it leaves some of it to the image below</param>
    private bool TryFindOnlyZeroes(GuestOffset offset, int length, out bool unallocated)
    {
        unallocated = false;

        // The L1 table is asked where the cache knows nothing, which is so once the image is being closed.
        if (_closed)
            return false;
        var end = offset + length;
        while (offset < end)
        {
            switch (TryKindAt(offset, out var known))
            {
                case L2Kind.Zero or L2Kind.ZeroAllocated:
                    break;
                case L2Kind.Unallocated:
                    unallocated = true;
                    break;
                default:
                    return false;
            }

            offset += known;
        }

        return true;
    }

    /// <summary>Whether the image is known to hold nothing in the range.</summary>
    private bool TryFindNothing(GuestOffset offset, int length)
    {
        if (_closed)
            return false;
        var end = offset + length;
        while (offset < end)
        {
            if (TryKindAt(offset, out var known) != L2Kind.Unallocated)
                return false;
            offset += known;
        }

        return true;
    }

    /// <summary>What a subcluster is, as far as that is known; <see cref="L2Kind.Invalid"/> if it is not.</summary>
    /// <param name="offset">on the disk</param>
    /// <param name="known">bytes from the offset on that are of this kind</param>
    private L2Kind TryKindAt(GuestOffset offset, out long known)
    {
        var cluster = _geometry.ClusterOf(offset);
        known = _geometry.ClusterSize - _geometry.Within(offset);

        // The cache is asked first: a table that is new since the L1 entry was seen empty is not one of our concern,
        // as what it points to was not acknowledged before this request began.
        if (!Tables.TryRead(cluster, out var entry))
            return Tables.HasNoTable(cluster) ? L2Kind.Unallocated : L2Kind.Invalid;
        if (_geometry.HasExtendedL2)
        {
            var subcluster = _geometry.Subcluster(offset);
            var run = (long)(subcluster + entry.RunAt(subcluster, _geometry)) << _geometry.SubclusterBits;
            known = run - _geometry.Within(offset);
            return entry.KindAt(subcluster, _geometry);
        }

        return entry.Kind;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryMapCluster(GuestCluster cluster, bool inPlace, out HostOffset host)
    {
        host = default;
        if (!Tables.TryReadDescriptor(cluster, out var raw))
            return false;
        if ((raw & (L2Entry.CompressedFlag | L2Entry.ZeroFlag)) != 0 || (inPlace && (raw & L2Entry.CopiedFlag) == 0))
            return false;
        host = new HostOffset((long)(raw & L2Entry.OffsetMask));
        return host.Value != 0 && (host.Value & _geometry.ClusterMask) == 0;
    }

    /// <summary>As <see cref="TryMapRun"/>, in an image with subclusters or a data file.</summary>
    private bool TryMapPieces(GuestOffset offset, int length, bool inPlace, out HostOffset host)
    {
        host = default;
        var end = offset + length;
        for (var here = offset; here < end;)
        {
            var cluster = _geometry.ClusterOf(here);
            if (!Tables.TryRead(cluster, out var entry) || Tables.IsMisplaced(entry, cluster) || (inPlace && !entry.Copied))
                return false;
            var subcluster = _geometry.Subcluster(here);
            if (entry.KindAt(subcluster, _geometry) != L2Kind.Data)
                return false;
            var at = entry.Host + _geometry.Within(here);
            if (here == offset)
                host = at;
            else if (at != host + (here - offset))
                return false;
            here = _geometry.StartOf(cluster)
                + ((long)(subcluster + entry.RunAt(subcluster, _geometry)) << _geometry.SubclusterBits);
        }

        return true;
    }
}
