using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Commit;

/// <summary>
/// Proves, before a log is replayed, that the tables in the file are as its server left them: killed at any moment, in the
/// middle of a commit too, or a server after it in the middle of the replay. Only reads.
/// </summary>
internal sealed class ReplayProof(ImageContext context, L2Tables tables, RefcountBlocks refcounts, RecoveryLog log, long diskSize)
{
    private readonly Geometry _geometry = context.Geometry;

    /// <param name="changes">what the log says</param>
    /// <param name="progress">hears the fraction of them that is proven</param>
    /// <returns>0, or a negative errno if the tables cannot be read</returns>
    /// <exception cref="RecoveryLogException">the file is not as the log's server left it, or the log is damaged</exception>
    public async LoopTask<int> RunAsync(LoggedChanges changes, Action<double> progress)
    {
        var count = 0;
        ProveL1(changes);
        var clusters = (diskSize + _geometry.ClusterMask) >> _geometry.ClusterBits;
        foreach (var entry in changes.Clusters)
        {
            progress(count++ / (double)changes.Count);
            if (entry.Index >= clusters)
                throw Damaged($"guest cluster {entry.Index} is not on the disk");
            if (!entry.IsWhole())
                throw Damaged($"the changes of guest cluster {entry.Index} do not follow each other");
            var cluster = new GuestCluster(entry.Index);
            var slot = await tables.LoadAsync(tables.KeyOf(cluster));
            if (context.WriteErrorReason is { } corrupt)
                throw Changed(corrupt);
            if (slot is < 0 and not SlicedTables.Absent)
                return slot;
            var found = slot == SlicedTables.Absent ? default : tables.Stored(slot, cluster);
            if (!entry.CanBeInFile(found))
                throw Changed($"guest cluster {entry.Index} is mapped by {found}, it was by {entry.Old}");
            var error = await ProveRefcountsAsync(entry, L2Entry.Decode(found, _geometry));
            if (error < 0)
                return error;
        }

        return 0;
    }

    /// <summary>The table as it was at the last commit: what it is, less the changes that the log has of it.</summary>
    private void ProveL1(LoggedChanges changes)
    {
        var hash = LogHash.OfTable(tables.L1);
        foreach (var entry in changes.L1Entries)
        {
            if (entry.Index >= tables.L1.Entries)
                throw Damaged($"L1 entry {entry.Index} is not in the table");
            var found = tables.L1[(int)entry.Index];
            if (!entry.CanBeInFile(new StoredL2Entry(found)))
                throw Changed($"L1 entry {entry.Index} is 0x{found:x}, it was {entry.Old}");
            hash ^= LogHash.OfEntry(entry.Index, found) ^ LogHash.OfEntry(entry.Index, entry.Old.Descriptor);
        }

        if (hash != log.Header.L1Hash && hash != log.Header.NextL1Hash)
            throw Changed("its L1 table is not the same");
    }

    private async LoopTask<int> ProveRefcountsAsync(LoggedEntry entry, L2Entry found)
    {
        var wanted = L2Entry.Decode(entry.New, _geometry);
        if (_geometry.HasDataFile)
        {
            return HostOf(wanted) is { } place && place != entry.Index << _geometry.ClusterBits
                ? throw Damaged($"guest cluster {entry.Index} became {entry.New}")
                : 0;
        }

        if (HostOf(found) is { } present && present != HostOf(wanted) && await CountAsync(present) is var old and < 1)
            return old < 0 ? (int)old : throw Changed($"host cluster 0x{present:x} is in use with refcount 0");
        if (wanted.Kind is L2Kind.Unallocated or L2Kind.Zero)
            return 0;

        // A cluster that is shared keeps its place when some of its subclusters become zeroes; else what is set is ours alone.
        var isKept = !wanted.Copied && _geometry.HasExtendedL2 && HostOf(wanted) == HostOf(L2Entry.Decode(entry.Old, _geometry));
        if (HostOf(wanted) is not { } host || !(wanted.Copied || isKept) || context.Metadata!.Contains(new HostOffset(host)))
            throw Damaged($"guest cluster {entry.Index} became {entry.New}");
        if (host > context.File.Length - _geometry.ClusterSize)
            throw Changed($"host cluster 0x{host:x} is past the end of the file (size {context.File.Length})");
        var count = await CountAsync(host);
        if (count < 0)
            return (int)count;
        var (lowest, highest) = isKept ? (1, long.MaxValue) : HostOf(found) == host ? (1, 1) : RefcountsOf(entry, host);
        if (count < lowest || count > highest)
            throw Changed($"host cluster 0x{host:x} has refcount {count}, it had {lowest}{(lowest == highest ? "" : $" or {highest}")}");
        return 0;
    }

    /// <summary>What the file's refcounts may say of a cluster that no entry in the file points to yet.</summary>
    private (long Lowest, long Highest) RefcountsOf(LoggedEntry entry, long host)
    {
        // Where the entry got the cluster: a later step may only have made it a zero cluster and back.
        var step = entry.Count - 1;
        while (step > 0 && HostOf(L2Entry.Decode(entry[step - 1].New, _geometry)) == host)
            step--;
        if (entry[step].IsTakenBefore(log.Header.Committed))
            return (1, 1);

        // The dead server had taken the last use away before it gave the cluster out again (it may have held several
        // compressed clusters), and had no time to write that down.
        if (entry[step].Has(LogRecord.Recycled))
            return (0, long.MaxValue);
        return (0, entry[step].IsTakenBefore(log.Header.Captures) ? 1 : 0);
    }

    private LoopTask<long> CountAsync(long host) => refcounts.GetAsync(_geometry.ClusterOf(new HostOffset(host)));

    private static long? HostOf(L2Entry entry) => entry.Kind is L2Kind.Data or L2Kind.ZeroAllocated ? entry.Host.Value : null;

    private RecoveryLogException Changed(string what) =>
        new($"{log.Path}: {context.File.Path} was changed since its server died: {what}");

    private RecoveryLogException Damaged(string what) =>
        new($"{log.Path} does not fit {context.File.Path}: {what}");
}
