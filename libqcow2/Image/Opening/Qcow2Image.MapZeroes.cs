using Qcow2Blk.Format;

namespace Qcow2Blk.Image.Opening;

/// <summary>Knowing without a lock that a range reads as zeroes: most of a sparse disk does.</summary>
internal sealed partial class Qcow2Image
{
    /// <summary>Whether this image is known to hold nothing in the range but zeroes.</summary>
    /// <param name="offset">on the disk</param>
    /// <param name="length">bytes</param>
    /// <param name="unallocated">whether it leaves some of it to the image below</param>
    private bool TryFindOnlyZeroes(long offset, int length, out bool unallocated)
    {
        unallocated = false;

        // The L1 table is asked where the cache knows nothing, which is so once the image is being closed.
        if (_closed)
            return false;
        var last = (offset + length - 1) >> _geometry.ClusterBits;
        for (var cluster = offset >> _geometry.ClusterBits; cluster <= last; cluster++)
        {
            // The cache is asked first: a table that is new since the L1 entry was seen empty is not one of our concern,
            // as what it points to was not acknowledged before this request began.
            if (_tables.TryRead(cluster, out var raw))
            {
                switch (L2Entry.Decode(raw, _geometry).Kind)
                {
                    case L2Kind.Zero or L2Kind.ZeroAllocated:
                        continue;
                    case L2Kind.Unallocated:
                        break;
                    default:
                        return false;
                }
            }
            else if (!_tables.HasNoTable(cluster))
            {
                return false;
            }

            unallocated = true;
        }

        return true;
    }
}
