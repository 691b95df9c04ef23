using System;

namespace Qcow2Blk.Image.Check;

/// <summary>Compares references with refcounts, cluster by cluster.</summary>
internal sealed class RefcountComparison(ImageUnderCheck image, RefcountTable refcounts)
{
    public void Run(Examination examination)
    {
        var result = image.Result;
        result.UsedClusters = 0;
        var highest = 0L;
        var (counts, stored) = (image.Counts, image.Stored);
        foreach (var index in image.BrokenBlocks)
            CountBroken(index);
        for (var cluster = 0; (cluster = counts.NextSet(stored, cluster, image.Clusters)) < image.Clusters; cluster++)
        {
            // Most of a sound image, many at a time.
            var same = image.BrokenBlocks.Count == 0 ? counts.SameAs(stored, cluster, image.Clusters) : [];
            if (same.LastIndexOfAnyExcept((byte)0) is var last and >= 0)
            {
                result.UsedClusters += same.Length - same.Count((byte)0);
                highest = cluster + last;
                cluster += same.Length - 1;
                continue;
            }

            if (refcounts.IsBroken(cluster))
                continue;
            highest = cluster;
            var (counted, refcount) = (image.Wanted(cluster), stored[cluster]);
            if (counted > 0)
                result.UsedClusters++;
            if (counted == refcount)
                continue;
            var offset = (long)cluster << image.ClusterBits;
            if (refcount == 0)
                examination.RefcountIsMissing();
            if (refcount < counted)
                result.Error(CheckSubject.Refcount, offset, $"cluster 0x{offset:x} has refcount {refcount}, but {counted} references");
            else
                result.Leak(offset, $"cluster 0x{offset:x} has refcount {refcount}, but {counted} references");
        }

        result.EndOffset = (highest + 1) << image.ClusterBits;
    }

    private void CountBroken(long index)
    {
        var first = index * image.BlockEntries;
        if (first >= image.Clusters)
            return;
        var clusters = System.Math.Min(image.BlockEntries, image.Clusters - first);
        image.Result.CheckErrors += clusters;
        image.Result.Note($"the refcounts of {clusters} clusters from 0x{first << image.ClusterBits:x} on cannot be read");
    }
}
