using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Space;

/// <summary>Growth of the refcount table.</summary>
internal sealed partial class Allocator
{
    /// <summary>
    /// Makes a larger refcount table with a place of its own: behind everything that the present one can count come
    /// the blocks that count the new clusters, then the table. All of it is in the file before the next commit
    /// switches the header; if anything fails, nothing points there.
    /// </summary>
    private async LoopTask<int> GrowTableAsync(int block)
    {
        var table = _refcounts.Table;
        var entriesPerCluster = _geometry.ClusterSize / sizeof(ulong);
        var firstBlock = _refcounts.EntriesInFile;
        var (tableClusters, blocks) = PlanGrowth(block, firstBlock, entriesPerCluster);
        if ((long)tableClusters * _geometry.ClusterSize > Limits.MaxRefcountTableBytes)
            return -Errno.EFBIG;
        var start = (long)firstBlock * _geometry.RefcountBlockEntries;
        var end = start + blocks + tableClusters;
        if (end << _geometry.ClusterBits > Limits.MaxHostOffset)
            return -Errno.EFBIG;
        if (_fixedLength && end << _geometry.ClusterBits > _context.File.Length)
            return -Errno.ENOSPC;
        for (var cluster = start; cluster < end; cluster++)
        {
            if (_context.Metadata!.Contains(cluster << _geometry.ClusterBits))
                return _context.Corrupt($"metadata at 0x{cluster << _geometry.ClusterBits:x} has no refcount block");
            if (IsClaimed(cluster))
                return -Errno.EIO; // The log is damaged, not the image.
        }

        var error = await ReserveAsync(end << _geometry.ClusterBits);
        for (var i = 0; i < blocks && error == 0; i++)
            error = await WriteGrowthBlockAsync(start + i, start + ((long)i * _geometry.RefcountBlockEntries), end);
        if (error < 0)
            return error;

        // From here on nothing is awaited: a commit sees either all of it or nothing.
        _context.NoteData();
        Invariant.Holds(_refcounts.EntriesInFile == firstBlock, "a refcount table grows by one task at a time", firstBlock);
        _context.RequireInFile(start << _geometry.ClusterBits, blocks + tableClusters);
        if (table.Entries < tableClusters * entriesPerCluster)
            table.Grow(tableClusters * entriesPerCluster);
        for (var i = 0; i < blocks; i++)
            table[firstBlock + i] = (ulong)((start + i) << _geometry.ClusterBits);
        _frees.Add(table.HostOffset >> _geometry.ClusterBits, _refcounts.EntriesInFile / entriesPerCluster);
        _context.Metadata!.Remove(table.HostOffset, _refcounts.EntriesInFile / entriesPerCluster);
        _context.Metadata.Add(start << _geometry.ClusterBits, blocks + tableClusters);
        table.MoveTo((start + blocks) << _geometry.ClusterBits);
        _refcounts.EntriesInFile = table.Entries;
        _refcounts.HeaderIsStale = true;
        return 0;
    }

    /// <summary>How many clusters the table needs, and how many blocks count them and themselves.</summary>
    private (int TableClusters, int Blocks) PlanGrowth(int block, int firstBlock, int entriesPerCluster)
    {
        var entries = Math.Max(block + 1, firstBlock) + (firstBlock / 2) + 1;
        while (true)
        {
            var tableClusters = (entries + entriesPerCluster - 1) / entriesPerCluster;
            var blocks = 1;
            while ((long)blocks * _geometry.RefcountBlockEntries < blocks + tableClusters)
                blocks++;
            if (firstBlock + blocks <= tableClusters * entriesPerCluster)
                return (tableClusters, blocks);
            entries = firstBlock + blocks;
        }
    }

    private async LoopTask<int> ReserveAsync(long end)
    {
        if (_fixedLength)
            return 0;
        _freshFrom = Math.Max(_freshFrom, end);
        return end > _context.File.Length ? await GrowFileAsync(end) : 0;
    }

    /// <summary>Writes the block in cluster <paramref name="at"/> that counts the clusters from <paramref name="first"/> on; those below
    /// <paramref name="end"/> are used.</summary>
    private async LoopTask<int> WriteGrowthBlockAsync(long at, long first, long end)
    {
        var pool = LoopScheduler.Current.Buffers;
        var content = pool.Rent(_geometry.ClusterSize);
        content.Clear();
        var used = (int)Math.Clamp(end - first, 0, _geometry.RefcountBlockEntries);
        for (var i = 0; i < used; i++)
            RefcountEntries.Set(content.Span, i, _geometry.RefcountOrder, 1);
        var error = await _context.File.WriteAsync(at << _geometry.ClusterBits, content);
        pool.Return(content);
        return error;
    }
}
