using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Space;

/// <summary>Taking clusters that are in use already, though the file does not say so yet: those of a recovery log.</summary>
internal sealed partial class Allocator
{
    private SortedSet<long>? _claimed;

    /// <summary>Gives every one of these clusters refcount 1. Nothing else may allocate meanwhile.</summary>
    /// <param name="clusters">numbers of host clusters, none of them metadata</param>
    /// <returns>0, or a negative errno: -EIO if a refcount table would have to go where one of them is</returns>
    public async LoopTask<int> ClaimAsync(SortedSet<long> clusters)
    {
        await _lock.EnterAsync();
        _claimed = clusters;
        var error = 0;
        foreach (var cluster in clusters)
        {
            error = await ClaimOneAsync(new HostCluster(cluster));
            if (error < 0)
                break;
        }

        _claimed = null;
        _lock.Exit();
        return error;
    }

    private async LoopTask<int> ClaimOneAsync(HostCluster cluster)
    {
        while (true)
        {
            // Step by step, as the dead server did: then the table comes to where its was, which no data is.
            if (_refcounts.BlockOf(cluster) >= _refcounts.EntriesInFile)
            {
                var error = await GrowTableAsync(_refcounts.EntriesInFile);
                if (error < 0)
                    return error;
                continue;
            }

            var slot = await _refcounts.LoadAsync(_refcounts.KeyOf(cluster));
            if (slot == SlicedTables.Absent)
            {
                var error = await MakeBlockAsync(FirstUnclaimed(_refcounts.BlockStart(_refcounts.BlockOf(cluster))));
                if (error < 0)
                    return error;
                continue;
            }

            if (slot < 0)
                return slot;
            // Whatever the file says: the dead server had taken the last use away before it gave the cluster out again (it may
            // have held several compressed clusters), and had no time to write that down.
            if (_refcounts.Get(slot, _refcounts.IndexOf(cluster)) != 1)
                _refcounts.Set(slot, cluster, 1);
            return 0;
        }
    }

    /// <summary>A refcount block lies in the first cluster that it counts, unless data was there before.</summary>
    private HostCluster FirstUnclaimed(HostCluster cluster)
    {
        while (IsClaimed(cluster))
            cluster++;
        return cluster;
    }

    private bool IsClaimed(HostCluster cluster) => _claimed is not null && _claimed.Contains(cluster.Number);
}
