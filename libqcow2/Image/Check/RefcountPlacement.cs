using System.Collections.Generic;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// Where new refcount blocks and their table go: behind everything that is used, describing themselves. Blocks that
/// would be all zero are left out, so that a sparse file is not filled with them.
/// </summary>
internal sealed class RefcountPlacement
{
    private readonly ReferenceCounts _counts;
    private readonly long _entries;

    /// <param name="start">first cluster that is free, as are all after it</param>
    /// <param name="entriesPerBlock">refcounts in one block</param>
    public RefcountPlacement(ReferenceCounts counts, long start, long entriesPerBlock, int clusterSize)
    {
        _counts = counts;
        _entries = entriesPerBlock;
        Start = start;
        var inUse = BlocksInUse();
        long size = 0;
        do
        {
            // What is placed must be described too, which may take one more block, and so on.
            Clusters = size;
            Blocks = WithPlaced(inUse, start + size);
            TableClusters = ((Blocks[^1] + 1) * 8 + clusterSize - 1) / clusterSize;
            size = Blocks.Count + TableClusters;
        }
        while (size != Clusters);
    }

    /// <summary>Index of the first cluster placed: the blocks, then the table.</summary>
    public long Start { get; }

    /// <summary>Clusters placed, blocks and table.</summary>
    public long Clusters { get; private set; }

    public long TableClusters { get; private set; }

    public long TableStart => Start + Blocks.Count;

    /// <summary>Indexes in the refcount table of the blocks that exist, ascending.</summary>
    public List<long> Blocks { get; private set; }

    /// <summary>The refcount that a cluster gets.</summary>
    public int RefcountOf(long cluster) =>
        cluster >= Start ? (cluster < Start + Clusters ? 1 : 0) : _counts[(int)cluster];

    private List<long> BlocksInUse()
    {
        var blocks = new List<long>();
        foreach (var cluster in _counts.Referenced())
        {
            if (blocks.Count == 0 || blocks[^1] != cluster / _entries)
                blocks.Add(cluster / _entries);
        }

        return blocks;
    }

    private List<long> WithPlaced(List<long> inUse, long end)
    {
        var blocks = new List<long>(inUse);
        for (var block = Start / _entries; block * _entries < end; block++)
        {
            if (blocks.Count == 0 || blocks[^1] < block)
                blocks.Add(block);
        }

        return blocks;
    }
}
