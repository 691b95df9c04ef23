using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Commit;

/// <summary>Takes over what a killed server had answered but not committed.</summary>
/// <param name="context">the image</param>
/// <param name="options">who is told how far it is</param>
/// <param name="map">where guest clusters are</param>
/// <param name="refcounts">of host clusters</param>
/// <param name="allocator">of host clusters</param>
/// <param name="space">takes what entries pointed to before</param>
/// <param name="preparation">what comes before the first change</param>
/// <param name="committer">brings it to disk</param>
internal sealed class LogReplay(
    ImageContext context, ImageOptions options, GuestMap map, RefcountBlocks refcounts, Allocator allocator, GuestSpace space,
    Preparation preparation, Committer committer)
{
    private const string Replaying = "replaying";

    private readonly Geometry _geometry = context.Geometry;

    /// <summary>
    /// Makes the mapping what the log says, and commits. Host clusters are claimed first: until then they look free. Killed
    /// in the middle, it can be done again from the start.
    /// </summary>
    /// <returns>0, or a negative errno</returns>
    /// <exception cref="RecoveryLogException">it does not fit this image: nothing was changed</exception>
    public async LoopTask<int> RunAsync(RecoveryLog log)
    {
        var changes = new LoggedChanges(log);
        context.IsUnproven = true;
        var error = await new ReplayProof(context, map.Tables, refcounts, log, map.Size)
            .RunAsync(changes, fraction => options.Progress?.Invoke(Replaying, fraction / 2));
        if (error < 0)
            return error;
        var hosts = HostsOf(changes);
        context.IsUnproven = false;
        log.Begin(map.Tables.L1);
        log.IsReplaying = true;
        context.Log = log;

        // Whatever the dead server wrote may still be in a volatile cache, whether its mapping changed or not.
        context.NoteData();
        error = await preparation.RunAsync();
        if (error == 0)
            error = await allocator.ClaimAsync(hosts);
        var count = 0;
        foreach (var entry in changes.Clusters)
        {
            options.Progress?.Invoke(Replaying, 0.5 + (count / 2.0 / changes.Count));
            count++;
            if (error == 0)
                error = await ReplayEntryAsync(new GuestCluster(entry.Index), entry.New);
        }

        log.IsReplaying = false; // From here on a commit covers all of it.
        if (error == 0)
            error = await committer.FlushAsync();
        if (error == 0)
            options.Report?.Invoke($"{context.File.Path}: replayed {count} changes that its last server had not committed");
        return error;
    }

    private async LoopTask<int> ReplayEntryAsync(GuestCluster cluster, StoredL2Entry entry)
    {
        var tables = map.Tables;
        var slot = await tables.LoadForWriteAsync(tables.KeyOf(cluster));
        if (slot < 0)
            return slot == SlicedTables.Absent ? -Errno.EIO : slot;
        if (tables.Stored(slot, cluster) == entry)
            return 0;
        var old = tables.Entry(slot, cluster);
        tables.Set(slot, cluster, entry);
        if (L2Entry.Decode(entry, _geometry).Host != old.Host)
            space.Free(old);
        return 0;
    }

    /// <summary>The host clusters that the logged entries point to, and that are theirs alone; each is proven already.</summary>
    private SortedSet<long> HostsOf(LoggedChanges changes)
    {
        var hosts = new SortedSet<long>();
        foreach (var entry in changes.Clusters)
        {
            var wanted = L2Entry.Decode(entry.New, _geometry);
            if (wanted is { HasHost: true, Copied: true } && !_geometry.HasDataFile
                && !hosts.Add(wanted.Host.Value >> _geometry.ClusterBits))
            {
                throw new RecoveryLogException($"{options.RecoveryLog} does not fit {context.File.Path}:"
                    + $" host cluster 0x{wanted.Host.Value:x} is used twice");
            }
        }

        return hosts;
    }
}
