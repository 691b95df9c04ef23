using System;
using System.Collections.Generic;
using Qcow2Blk.Format;

namespace Qcow2Blk.Creation;

/// <summary>
/// Hands out the clusters of an image that does not exist yet, one after the other, and puts refcount blocks where they become
/// necessary: exactly where qemu-img puts them, so that images come out alike.
/// </summary>
/// <remarks>
/// A run of clusters is found first and counted then. Where a cluster of it has no refcount block, one is taken from behind the
/// run, and the search begins anew.
/// </remarks>
/// <param name="clusterBits">log2 of the bytes of a cluster</param>
/// <param name="refcountOrder">log2 of the bits of a refcount</param>
internal sealed class ClusterAllocation(int clusterBits, int refcountOrder)
{
    private readonly int _blockBits = clusterBits + 3 - refcountOrder;
    private readonly SortedDictionary<long, long> _blocks = [];

    /// <summary>Runs in use, in order; neighbours are one run.</summary>
    private readonly List<(long Start, long End)> _used = [];
    private long _next;

    /// <summary>Runs in use: the first cluster, and the one behind the last.</summary>
    public IReadOnlyList<(long Start, long End)> Used => _used;

    /// <summary>The cluster of each refcount block, by its index in the refcount table.</summary>
    public IReadOnlyDictionary<long, long> RefcountBlocks => _blocks;

    /// <summary>Clusters from the start of the file to the end of the last that is in use.</summary>
    public long End => _used[^1].End;

    /// <summary>Takes the clusters at the start of the file.</summary>
    /// <param name="refcountTableClusters">clusters of the refcount table behind the header; the first refcount block follows</param>
    public void Start(int refcountTableClusters)
    {
        _blocks.Add(0, 1 + refcountTableClusters);
        while (Take(2 + refcountTableClusters) != 0)
        {
        }
    }

    /// <summary>Takes neighbouring clusters.</summary>
    /// <param name="count">how many, 1 or more</param>
    /// <returns>the first</returns>
    public long Take(long count)
    {
        while (true)
        {
            var first = Find(count);
            if (Count(first, count))
                return first;
        }
    }

    private long Find(long count)
    {
        var first = _next;
        foreach (var (start, end) in _used)
        {
            if (end <= first)
                continue;
            if (start >= first + count)
                break;
            first = end;
        }

        _next = first + count;
        return first;
    }

    /// <returns>false if there is a refcount block now where there was none: look again</returns>
    private bool Count(long first, long count)
    {
        for (var block = first >> _blockBits; block <= (first + count - 1) >> _blockBits; block++)
        {
            if (_blocks.ContainsKey(block))
                continue;
            AddBlock(block);
            // The same clusters are looked at first: they may still be free.
            _next = Math.Min(_next, first);
            return false;
        }

        Mark(first, first + count);
        return true;
    }

    private void AddBlock(long block)
    {
        var place = Find(1);
        if (place >> _blockBits == block)
            Mark(place, place + 1);
        else if (!Count(place, 1))
            return;
        _blocks.Add(block, place);
    }

    private void Mark(long start, long end)
    {
        var index = _used.FindIndex(run => run.Start >= start);
        if (index < 0)
            index = _used.Count;
        if (index < _used.Count && _used[index].Start == end)
        {
            end = _used[index].End;
            _used.RemoveAt(index);
        }

        if (index > 0 && _used[index - 1].End == start)
            _used[index - 1] = (_used[index - 1].Start, end);
        else
            _used.Insert(index, (start, end));
    }

    /// <summary>Bytes of a refcount block: 1 for every cluster in use.</summary>
    public byte[] RefcountBlock(long index)
    {
        var bytes = new byte[1 << clusterBits];
        var first = index << _blockBits;
        foreach (var (start, end) in _used)
        {
            var last = Math.Min(end, first + (1L << _blockBits));
            for (var cluster = Math.Max(start, first); cluster < last; cluster++)
                RefcountEntries.Set(bytes, (int)(cluster - first), refcountOrder, 1);
        }

        return bytes;
    }
}
