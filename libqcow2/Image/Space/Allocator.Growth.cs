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
        var start = new HostCluster((long)firstBlock * _geometry.RefcountBlockEntries);
        var end = start + blocks + tableClusters;
        if (_geometry.StartOf(end).Value > Limits.MaxHostOffset)
            return -Errno.EFBIG;
        if (_fixedLength && _geometry.StartOf(end).Value > _context.File.Length)
            return -Errno.ENOSPC;
        for (var cluster = start; cluster < end; cluster++)
        {
            if (_context.Metadata!.Contains(_geometry.StartOf(cluster)))
                return _context.Corrupt($"metadata at {_geometry.StartOf(cluster)} has no refcount block");
            if (IsClaimed(cluster))
                return -Errno.EIO; // The log is damaged, not the image.
        }

        var error = await ReserveAsync(_geometry.StartOf(end).Value);
        for (var i = 0; i < blocks && error == 0; i++)
            error = await WriteGrowthBlockAsync(start + i, start + ((long)i * _geometry.RefcountBlockEntries), end);
        if (error < 0)
            return error;

        // From here on nothing is awaited: a commit sees either all of it or nothing.
        _context.NoteData();
        Invariant.Holds(_refcounts.EntriesInFile == firstBlock, "a refcount table grows by one task at a time", firstBlock);
        _context.RequireInFile(_geometry.StartOf(start), blocks + tableClusters);
        if (table.Entries < tableClusters * entriesPerCluster)
            table.Grow(tableClusters * entriesPerCluster);
        for (var i = 0; i < blocks; i++)
            table[firstBlock + i] = (ulong)_geometry.StartOf(start + i).Value;
        _frees.Add(_geometry.ClusterOf(new HostOffset(table.HostOffset)), _refcounts.EntriesInFile / entriesPerCluster);
        _context.Metadata!.Remove(new HostOffset(table.HostOffset), _refcounts.EntriesInFile / entriesPerCluster);
        _context.Metadata.Add(_geometry.StartOf(start), blocks + tableClusters);
        table.MoveTo(_geometry.StartOf(start + blocks).Value);
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
    private async LoopTask<int> WriteGrowthBlockAsync(HostCluster at, HostCluster first, HostCluster end)
    {
        var pool = LoopScheduler.Current.Buffers;
        var content = pool.Rent(_geometry.ClusterSize);
        content.Clear();
        var used = (int)Math.Clamp(end - first, 0, _geometry.RefcountBlockEntries);
        for (var i = 0; i < used; i++)
            RefcountEntries.Set(content.Span, i, _geometry.RefcountOrder, 1);
        var error = await _context.File.WriteAsync(_geometry.StartOf(at).Value, content);
        pool.Return(content);
        return error;
    }
}
