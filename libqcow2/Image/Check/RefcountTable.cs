using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>The refcount table of an image under check, and the refcounts in its blocks.</summary>
internal sealed class RefcountTable(ImageUnderCheck image)
{
    /// <summary>What a file can have at most: the driver below refuses to read further than that.</summary>
    private const ulong Unreadable = Limits.MaxFileBytes;

    // Entries that are not 0, by their index.
    private readonly SortedDictionary<int, ulong> _entries = [];
    private readonly List<int> _counted = [];

    /// <summary>Entries that the table has room for.</summary>
    public int Room { get; private set; } = (int)((long)image.Header.RefcountTableClusters * image.ClusterSize / sizeof(ulong));

    /// <summary>The blocks that are there, by their index in the table; damaged entries too.</summary>
    public IEnumerable<(int Index, ulong Raw)> Entries
    {
        get
        {
            foreach (var (index, raw) in _entries)
                yield return (index, raw);
        }
    }

    /// <summary>Where a block is; 0 for none.</summary>
    public long BlockAt(int index) => (long)(_entries.GetValueOrDefault(index) & RefcountTableEntry.OffsetMask);

    /// <summary>Whether the refcount of a cluster cannot be known.</summary>
    public bool IsBroken(long cluster) => image.BrokenBlocks.Count > 0 && image.BrokenBlocks.Contains(cluster / image.BlockEntries);

    /// <summary>Reads the table and all of its blocks.</summary>
    public async LoopTask<int> LoadAsync()
    {
        var header = image.Header;
        var bytes = (long)header.RefcountTableClusters << header.ClusterBits;
        using var pieces = new TablePieces(image.File);
        pieces.Begin(header.RefcountTableOffset.Value, bytes);
        int count;
        while ((count = await pieces.NextAsync()) > 0)
        {
            var first = (int)((pieces.Offset - header.RefcountTableOffset.Value) / sizeof(ulong));
            for (var index = 0; index < count / sizeof(ulong); index++)
            {
                if (pieces[index] != 0)
                    _entries.Add(first + index, pieces[index]);
            }
        }

        return count < 0 ? count : await LoadBlocksAsync();
    }

    /// <summary>The refcount of any cluster, in the file or not.</summary>
    /// <returns>a negative errno if it cannot be read; nothing is read of a block that is broken</returns>
    public async LoopTask<(int Error, ulong Refcount)> ReadAsync(long cluster)
    {
        var index = cluster / image.BlockEntries;
        if (index >= Room || BlockAt((int)index) == 0)
            return (0, 0);
        var bit = cluster % image.BlockEntries << image.Header.RefcountOrder;
        using var buffer = new TableBuffer(sizeof(ulong));
        var error = await buffer.ReadAsync(image.File, BlockAt((int)index) + (bit >> 3 & ~7L), sizeof(ulong));
        return (error, error < 0 ? 0 : RefcountEntries.Get(buffer.Span[..8], (int)((bit & 63) >> image.Header.RefcountOrder),
            image.Header.RefcountOrder));
    }

    /// <summary>Counts the blocks' own clusters, after everything else: what a block shares its cluster with comes first.</summary>
    /// <returns>whether there are blocks that cannot be used</returns>
    public bool CountBlocks()
    {
        var mustRebuild = false;
        foreach (var (index, raw) in _entries)
        {
            var block = (long)(raw & RefcountTableEntry.OffsetMask);
            if ((raw & RefcountTableEntry.ReservedMask) != 0)
            {
                Error(index, $"0x{raw:x} has reserved bits set");
            }
            else if ((block & image.ClusterMask) != 0)
            {
                Error(index, $"block 0x{block:x} is not aligned to a cluster");
            }
            else if ((ulong)block >> image.ClusterBits >= (ulong)image.Clusters)
            {
                Error(index, $"block 0x{block:x} is past the end of the file");
                BlocksOutside++;
                continue;
            }
            else if (block == 0 || IsAlone(block, index))
            {
                continue;
            }

            mustRebuild = true;
        }

        return mustRebuild;
    }

    private void Error(int index, string what) =>
        image.Result.Error(CheckSubject.RefcountTable, image.Header.RefcountTableOffset.Value + index * sizeof(ulong),
            $"refcount table entry {index}: {what}");

    /// <summary>Blocks that the table has past the end of the file.</summary>
    public int BlocksOutside { get; private set; }

    /// <summary>Takes back what <see cref="CountBlocks"/> counted: the blocks are going to be replaced.</summary>
    public void Forget()
    {
        foreach (var cluster in _counted)
            image.Uncount(cluster);
        _counted.Clear();
    }

    /// <summary>Other blocks are in force now.</summary>
    /// <param name="blocks">index in the table, and the cluster where the block is</param>
    /// <param name="tableBytes">of their table</param>
    public void Replace(IReadOnlyDictionary<int, int> blocks, long tableBytes)
    {
        _entries.Clear();
        foreach (var (index, cluster) in blocks)
            _entries.Add(index, (ulong)cluster << image.ClusterBits);
        Room = (int)(tableBytes / sizeof(ulong));
        image.BrokenBlocks.Clear();
    }

    private bool IsAlone(long block, int index)
    {
        var cluster = (int)(block >> image.ClusterBits);
        image.CountCluster(cluster, 1);
        _counted.Add(cluster);
        if (image.Wanted(cluster) == 1)
            return true;
        image.Result.Error(CheckSubject.RefcountBlock, block,
            $"refcount block {index} at 0x{block:x} shares its cluster: it has {image.Wanted(cluster)} references");
        return false;
    }

    private async LoopTask<int> LoadBlocksAsync()
    {
        using var pieces = new TablePieces(image.File);
        var done = 0;
        foreach (var (index, raw) in _entries)
        {
            image.Progress?.Invoke("checking", (double)done++ / _entries.Count * Examination.RefcountShare);
            var block = raw & RefcountTableEntry.OffsetMask;
            if (block == 0)
                continue;
            if ((block & (ulong)image.ClusterMask) != 0 || block > Unreadable - (ulong)image.ClusterSize)
            {
                image.BrokenBlocks.Add(index);
                continue;
            }

            if ((long)index * image.BlockEntries > int.MaxValue - image.BlockEntries)
                break;
            if (!image.MayRead(image.ClusterSize))
                return 0;
            var error = await LoadBlockAsync(pieces, (long)block, index * image.BlockEntries);
            if (error < 0)
                return error;
        }

        return 0;
    }

    private async LoopTask<int> LoadBlockAsync(TablePieces pieces, long block, int first)
    {
        // One cluster more than there is: something may refer to the one behind the end.
        var end = Math.Min((long)first + image.BlockEntries, image.FileClusters + 1L);
        var order = image.Header.RefcountOrder;
        pieces.Begin(block, Math.Max(0, Rounding.Up((end - first << order) + 7 >> 3, sizeof(ulong))));
        int count;
        while ((count = await pieces.NextAsync()) > 0)
        {
            var from = first + (int)((pieces.Offset - block) * 8 >> order);
            Take(pieces.Bytes, from, (int)Math.Min(end - from, (long)count * 8 >> order));
        }

        return count;
    }

    private void Take(ReadOnlySpan<byte> bytes, int first, int count)
    {
        var order = image.Header.RefcountOrder;
        var small = image.Stored.Small;
        if (order == 4 && first + (long)count <= small.Length)
        {
            for (var index = 0; index < count; index++)
            {
                var refcount = BinaryPrimitives.ReadUInt16BigEndian(bytes[(index * 2)..]);
                if (refcount < byte.MaxValue)
                {
                    small[first + index] = (byte)refcount;
                    continue;
                }

                // There may be so many large ones by now that nothing is kept in bytes any more.
                TakeSlowly(bytes, first, index, count, order);
                return;
            }

            return;
        }

        TakeSlowly(bytes, first, 0, count, order);
    }

    private void TakeSlowly(ReadOnlySpan<byte> bytes, int first, int from, int count, int order)
    {
        for (var index = from; index < count; index++)
        {
            var refcount = RefcountEntries.Get(bytes, index, order);
            if (refcount != 0)
                image.Stored[first + index] = (uint)Math.Min(refcount, ClusterTally.Most);
        }
    }
}
