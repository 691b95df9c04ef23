using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// Makes all refcounts anew from what the image refers to. The old ones stay in force until one write of the header switches
/// to the new ones. Blocks that would be all zeroes are left out, so that a sparse file is not filled with them.
/// </summary>
internal sealed class RefcountRebuilding(ImageUnderCheck image, RefcountTable refcounts, FreeClusters free)
{
    // The new blocks: index in the table, and the cluster where it is.
    private readonly SortedDictionary<int, int> _blocks = [];
    private int _table;
    private int _tableClusters;

    /// <summary>Finds room for everything. Nothing is written yet.</summary>
    /// <returns>why there is none; null if there is</returns>
    public string? Plan()
    {
        Forget();
        var needed = new List<int>();
        for (var cluster = 0; (cluster = image.Counts.NextSet(image.Counts, cluster, image.Clusters)) < image.Clusters;)
        {
            needed.Add(cluster / image.BlockEntries);
            cluster = (int)Math.Min((needed[^1] + 1L) * image.BlockEntries, image.Clusters);
        }

        foreach (var index in needed)
        {
            if (!Place(index))
                return NoRoom;
        }

        return PlaceTable();
    }

    private const string NoRoom = "there is no room for new refcounts";

    /// <summary>Writes blocks and table, and switches the header to them.</summary>
    public async LoopTask<int> WriteAsync(RepairWriter writer)
    {
        using var buffer = new TableBuffer(image.ClusterSize);
        foreach (var (index, cluster) in _blocks)
        {
            image.Progress?.Invoke("repairing", (double)index / (_blocks.Count + index + 1));
            FillBlock(buffer.Span[..image.ClusterSize], index);
            var error = await writer.WriteAsync((long)cluster << image.ClusterBits, buffer, 0, image.ClusterSize);
            if (error < 0)
                return error;
        }

        for (var part = 0; part < _tableClusters; part++)
        {
            FillTable(buffer.Span[..image.ClusterSize], part * (image.ClusterSize / sizeof(ulong)));
            var error = await writer.WriteAsync((long)(_table + part) << image.ClusterBits, buffer, 0, image.ClusterSize);
            if (error < 0)
                return error;
        }

        return await SwitchAsync(writer);
    }

    private async LoopTask<int> SwitchAsync(RepairWriter writer)
    {
        var error = await writer.FlushAsync();
        if (error >= 0)
            error = await writer.SetRefcountTableAsync((long)_table << image.ClusterBits, _tableClusters);
        if (error >= 0)
            error = await writer.FlushAsync();
        if (error < 0)
            return error;
        refcounts.Replace(_blocks, (long)_tableClusters * image.ClusterSize);

        // One after the other: a tally whose clusters are gone through must not get new ones.
        var (counts, stored) = (image.Counts, image.Stored);
        for (var cluster = 0; (cluster = counts.NextSet(counts, cluster, image.Clusters)) < image.Clusters; cluster++)
            stored[cluster] = image.Wanted(cluster);
        for (var cluster = 0; (cluster = stored.NextSet(stored, cluster, image.Clusters)) < image.Clusters; cluster++)
            stored[cluster] = image.Wanted(cluster);
        return 0;
    }

    /// <summary>The old structures will not be referred to any more.</summary>
    private void Forget()
    {
        refcounts.Forget();
        var table = image.Header.RefcountTableOffset.Value;
        var bytes = (long)image.Header.RefcountTableClusters << image.ClusterBits;
        if (bytes > 0 && table + bytes - image.FileLength < image.ClusterSize)
        {
            for (var cluster = table >> image.ClusterBits; cluster < (table + bytes) >> image.ClusterBits; cluster++)
                image.Uncount((int)cluster);
        }
    }

    private bool Place(int index)
    {
        while (!_blocks.ContainsKey(index))
        {
            var cluster = free.Take(1);
            if (cluster < 0)
                return false;
            image.CountCluster(cluster, 1);
            _blocks.Add(index, cluster);
            // The block itself has to be described too.
            index = cluster / image.BlockEntries;
        }

        return true;
    }

    private string? PlaceTable()
    {
        while (true)
        {
            var highest = 0;
            foreach (var index in _blocks.Keys)
                highest = index;
            var needed = (int)(Rounding.Up((highest + 1L) * sizeof(ulong), image.ClusterSize) >> image.ClusterBits);
            if (needed <= _tableClusters)
                return null;
            if ((long)needed << image.ClusterBits > Limits.MaxRefcountTableBytes)
            {
                return $"a refcount table for what is used would have {(long)needed << image.ClusterBits} bytes,"
                    + $" more than {Limits.MaxRefcountTableBytes}";
            }

            for (var part = 0; part < _tableClusters; part++)
                image.Uncount(_table + part);
            (_table, _tableClusters) = (free.Take(needed), needed);
            if (_table < 0)
                return NoRoom;
            for (var part = 0; part < needed; part++)
            {
                image.CountCluster(_table + part, 1);
                if (!Place((_table + part) / image.BlockEntries))
                    return NoRoom;
            }
        }
    }

    private void FillBlock(Span<byte> block, int index)
    {
        block.Clear();
        var first = (long)index * image.BlockEntries;
        var end = (int)Math.Min(first + image.BlockEntries, image.Clusters);
        for (var cluster = (int)first; (cluster = image.Counts.NextSet(image.Counts, cluster, end)) < end; cluster++)
            RefcountEntries.Set(block, (int)(cluster - first), image.Header.RefcountOrder, image.Wanted(cluster));
    }

    private void FillTable(Span<byte> part, int first)
    {
        part.Clear();
        foreach (var (index, cluster) in _blocks)
        {
            if (index >= first && index - first < part.Length / sizeof(ulong))
                BinaryPrimitives.WriteInt64BigEndian(part[((index - first) * sizeof(ulong))..], (long)cluster << image.ClusterBits);
        }
    }
}
