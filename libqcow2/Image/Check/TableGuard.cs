using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Image.Check;

/// <summary>Knows where tables other than L2 tables are: a repair of an L2 table must not touch them.</summary>
internal sealed class TableGuard
{
    private readonly List<(long Start, long End)> _ranges;

    public TableGuard(ImageUnderCheck image, RefcountTable refcounts)
    {
        var blocks = refcounts.Entries.Select(entry => (long)(entry.Raw & Format.RefcountTableEntry.OffsetMask)).Where(block => block > 0)
            .Select(block => (block, block + image.ClusterSize));
        var end = 0L;
        _ranges = [];
        foreach (var (start, rangeEnd) in image.Tables.Concat(blocks).Where(range => range.Item2 > range.Item1).Order())
        {
            // Joined, so that the last range that begins before something is the only one that can reach it.
            if (_ranges.Count > 0 && start <= end)
                _ranges[^1] = (_ranges[^1].Start, end = System.Math.Max(end, rangeEnd));
            else
                _ranges.Add((start, end = rangeEnd));
        }
    }

    /// <summary>Whether one of them is in a range.</summary>
    public bool Holds(long offset, long length)
    {
        var found = _ranges.BinarySearch((offset + length - 1, long.MaxValue));
        var before = (found < 0 ? ~found : found + 1) - 1;
        return before >= 0 && _ranges[before].End > offset;
    }
}
