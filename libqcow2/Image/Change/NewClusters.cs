using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Change;

/// <summary>
/// Writes that change the mapping: allocate, fill, write, publish, free what was there before. Or fill what a cluster of our own
/// has room for: a zero cluster that kept its place, subclusters that hold nothing yet.
/// </summary>
internal sealed class NewClusters(ChangeParts parts, ClusterFill fill)
{
    // A run is assembled in one buffer when it must be filled up: this bounds the buffer (but for one larger cluster).
    private const int MaximumRunBytes = 2 << 20;

    private readonly ImageContext _context = parts.Context;
    private readonly Geometry _geometry = parts.Context.Geometry;

    /// <returns>bytes written; 0 to look again; or a negative errno</returns>
    public async LoopTask<int> WriteAsync(GuestOffset offset, NativeBuffer buffer)
    {
        if (await parts.MakeRoomInLogAsync() is var full and < 0)
            return full;
        var first = _geometry.ClusterOf(offset);
        var count = ClustersOfRun(first, offset, buffer.Length);
        if (!parts.Locks.TryEnter(first, count))
        {
            // Somebody is changing one of these clusters; perhaps not the first.
            count = 1;
            if (!parts.Locks.TryEnter(first, 1))
            {
                await parts.Locks.WaitForReleaseAsync();
                return 0;
            }
        }

        int result;
        try
        {
            result = await WriteUnderLockAsync(offset, buffer, first, count);
        }
        catch (InvariantBreach breach)
        {
            result = _context.Stop(breach);
        }

        parts.Locks.Exit(first, count);
        return result;
    }

    private int ClustersOfRun(GuestCluster first, GuestOffset offset, int length)
    {
        var last = _geometry.ClusterOf(offset + (length - 1));
        var stop = parts.Map.Tables.SliceEnd(first);
        var limit = Math.Max(1, MaximumRunBytes >> _geometry.ClusterBits);
        return (int)Math.Min((last < stop ? last + 1 : stop) - first, limit);
    }

    private async LoopTask<int> WriteUnderLockAsync(GuestOffset offset, NativeBuffer buffer, GuestCluster first, int count)
    {
        var tables = parts.Map.Tables;
        var slot = await tables.LoadForWriteAsync(tables.KeyOf(first));
        if (slot < 0)
            return slot == SlicedTables.Absent ? -Errno.EIO : slot;
        if (_context.WriteError != 0)
            return _context.WriteError;

        Invariant.Holds(parts.Locks.IsHeld(first, count), "who changes the mapping of clusters has locked them", first.Number, count);

        // Decided only now: while this waited, another request may have done the work.
        count = CountToChange(slot, offset, count);
        if (count == 0)
            return 0;
        if (_context.IsRawDataFile && _context.Header.CryptMethod == 0)
            return await ShowRawAsync(first, count);
        var old = tables.Entry(slot, first);
        var reuse = old is { HasHost: true, Copied: true };
        var run = reuse ? new HostRun(0, old.Host, 1, false) : await parts.Space.AllocateAsync(first, count);
        if (run.Error < 0)
            return run.Error;
        var length = (int)Math.Min(buffer.Length, _geometry.StartOf(first + run.Clusters) - offset);
        var (error, filled) = await fill.FillAsync(offset, buffer.Slice(0, length), run, reuse);
        if (error == 0)
        {
            _context.NoteData();
            RequireOurs(run, isNew: !reuse);
            error = await PublishAsync(first, run, filled, reuse);
        }

        if (error < 0 && !reuse)
            await parts.Space.ReleaseAsync(run);
        return error < 0 ? error : length;
    }

    /// <summary>
    /// Clusters of a raw data file, in which is already what the guest reads there: their entries say so, on disk too, before
    /// anything else is written to them. Else the file and the disk would differ after a crash. Nothing is written in place meanwhile,
    /// as others see the entries before they are on disk.
    /// </summary>
    /// <returns>0 to look again, or a negative errno</returns>
    private async LoopTask<int> ShowRawAsync(GuestCluster first, int count)
    {
        var run = await parts.Space.AllocateAsync(first, count);
        if (run.Error < 0)
            return run.Error;
        RequireOurs(run, isNew: true);
        var whole = new FilledRange(_geometry.StartOf(first), _geometry.StartOf(first + run.Clusters));
        parts.BeginShow();
        try
        {
            var error = await PublishAsync(first, run, whole, reuse: false);
            return error < 0 ? error : await parts.Committer.FlushAsync();
        }
        finally
        {
            parts.EndShow();
        }
    }

    /// <summary>
    /// How many clusters from the one of <paramref name="offset"/> on need new host clusters; 1 if the first can be filled where it
    /// is; 0 if it need not change.
    /// </summary>
    private int CountToChange(int slot, GuestOffset offset, int limit)
    {
        var tables = parts.Map.Tables;
        var first = _geometry.ClusterOf(offset);
        for (var i = 0; i < limit; i++)
        {
            var entry = tables.Entry(slot, first + i);
            if (entry.Kind == L2Kind.Invalid || tables.IsMisplaced(entry, first + i))
                return i;
            if (entry is not { HasHost: true, Copied: true })
                continue;
            return IsInPlace(entry, i == 0 ? _geometry.Subcluster(offset) : 0) ? i : Math.Max(i, 1);
        }

        return limit;
    }

    /// <summary>Whether a write that begins in this subcluster begins in place, with as much as the file takes at least.</summary>
    private bool IsInPlace(in L2Entry entry, int subcluster) =>
        entry.KindAt(subcluster, _geometry) == L2Kind.Data
        && (long)entry.RunAt(subcluster, _geometry) << _geometry.SubclusterBits >= parts.Data.Alignment;

    /// <summary>The data is written: now the guest's clusters are there. What they were before is freed by the commit.</summary>
    /// <param name="first">guest cluster</param>
    /// <param name="run">where they are</param>
    /// <param name="filled">what of the disk is there now</param>
    /// <param name="reuse">whether the cluster had this place before</param>
    private async LoopTask<int> PublishAsync(GuestCluster first, HostRun run, FilledRange filled, bool reuse)
    {
        var tables = parts.Map.Tables;
        var slot = await tables.LoadForWriteAsync(tables.KeyOf(first));
        if (slot < 0)
            return slot == SlicedTables.Absent ? -Errno.EIO : slot;
        parts.RequireMayChange(first, run.Clusters);
        for (var i = 0; i < run.Clusters; i++)
        {
            var cluster = first + i;
            var old = tables.Entry(slot, cluster);
            var host = run.Offset + ((long)i << _geometry.ClusterBits);
            var bitmap = _geometry.HasExtendedL2 ? Bitmap(cluster, old, filled, isNew: !reuse) : 0;
            tables.Set(slot, cluster, new StoredL2Entry(L2Entry.EncodeData(host, copied: true), bitmap), run.Taken);
            if (old.Host != host || !old.HasHost)
                parts.Free(old);
        }

        return 0;
    }

    /// <summary>The subclusters of a cluster that was filled: those that were written are there; the others stay what they were.</summary>
    private ulong Bitmap(GuestCluster cluster, in L2Entry old, FilledRange filled, bool isNew)
    {
        var start = _geometry.StartOf(cluster);
        var from = Math.Max(filled.Start - start, 0) >> _geometry.SubclusterBits;
        var to = Math.Min(Rounding.Up(filled.End - start, _geometry.SubclusterSize), _geometry.ClusterSize) >> _geometry.SubclusterBits;
        var written = (uint)(((1UL << (int)to) - 1) & ~((1UL << (int)from) - 1));
        Invariant.Holds(
            !isNew || (old.Allocated & ~written) == 0, "a new cluster has all that the old one held", cluster.Number,
            old.Allocated & ~written);
        return L2Entry.EncodeBitmap(old.Allocated | written, old.Zeroes & ~written);
    }

    /// <summary>What entries are about to call ours alone: in the file and, if it is new, no metadata and used once.</summary>
    private void RequireOurs(HostRun run, bool isNew)
    {
        _context.RequireInData(run.Offset, run.Clusters);
        for (var i = 0; i < run.Clusters && isNew && !_geometry.HasDataFile; i++)
        {
            var offset = run.Offset + ((long)i << _geometry.ClusterBits);
            Invariant.Holds(!_context.Metadata!.Contains(offset), "guest data is never where metadata is", offset.Value);
            if (Invariant.Thorough)
            {
                Invariant.Holds(
                    parts.Refcounts.Peek(_geometry.ClusterOf(offset)) is 1 or null, "COPIED is set only with refcount 1", offset.Value);
            }
        }
    }
}
