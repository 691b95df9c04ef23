using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>Holds COPIED in the active tables against the refcounts as they are stored: set means exactly one.</summary>
internal sealed class CopiedCheck(ImageUnderCheck image)
{
    // What is so far behind the end of the file that its refcount was not loaded, and has one nevertheless.
    private readonly List<(long Cluster, bool Copied, long At, long Times)> _far = [];

    /// <summary>Tables whose refcount cannot be read: qemu does not look into them here.</summary>
    private readonly HashSet<long> _skipped = [];

    public bool Skips(long table) => _skipped.Count > 0 && _skipped.Contains(table);

    /// <summary>An entry of the active L1 table that names an L2 table.</summary>
    public void Check(in L1Entry entry, long at, RefcountTable refcounts)
    {
        if (refcounts.IsBroken(entry.Offset.Value >> image.ClusterBits))
            _skipped.Add(entry.Offset.Value);
        else
            Check(entry.Offset.Value, entry.Copied, at, 1, refcounts);
    }

    /// <summary>An entry that refers to a cluster.</summary>
    public void Check(long host, bool copied, long at, long times, RefcountTable refcounts)
    {
        var cluster = host >> image.ClusterBits;
        if (refcounts.IsBroken(cluster))
            return;
        if (cluster <= image.FileClusters)
        {
            Compare(image.Stored[(int)cluster], host, copied, at, times);
            return;
        }

        var index = cluster / image.BlockEntries;
        if (index >= refcounts.Room || refcounts.BlockAt((int)index) == 0)
            Compare(0, host, copied, at, times);
        else
            _far.Add((cluster, copied, at, times));
    }

    /// <summary>Looks up what was too far away.</summary>
    public async LoopTask<int> FinishAsync(RefcountTable refcounts)
    {
        foreach (var (cluster, copied, at, times) in _far)
        {
            var (error, refcount) = await refcounts.ReadAsync(cluster);
            if (error < 0)
                return error;
            Compare(refcount, cluster << image.ClusterBits, copied, at, times);
        }

        return 0;
    }

    private void Compare(ulong refcount, long host, bool copied, long at, long times)
    {
        if (copied != (refcount == 1))
        {
            image.Result.Error(CheckSubject.CopiedFlag, at, times,
                $"COPIED of the entry at 0x{at:x} is {(copied ? "set" : "clear")}, but cluster 0x{host:x} has refcount {refcount}");
        }
    }
}
