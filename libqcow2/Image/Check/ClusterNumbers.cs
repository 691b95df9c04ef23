using System;
using System.Collections.Generic;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// A number for each cluster of a file, 0 unless it was set. Memory goes with the numbers that were set, not with the file: a
/// file of terabytes may be one hole.
/// </summary>
internal sealed class ClusterNumbers
{
    // Small pages: a hostile table names clusters far apart, and each of its entries (8 bytes) costs a page.
    private const int PageShift = 5;
    private const int PageEntries = 1 << PageShift;

    // Pages are allocated many at a time, and never moved.
    private const int ChunkPageShift = 11;

    private readonly Dictionary<int, int> _slots = [];
    private readonly List<uint[]> _chunks = [];
    private int _lastPage = -1;
    private int _lastSlot = -1;
    private int[]? _ordered;
    private (int Own, int Other) _orderedOf;

    /// <summary>Clusters for which there is memory, at most.</summary>
    public long Capacity => (long)_slots.Count << PageShift;

    public uint this[int cluster]
    {
        get => Find(cluster >> PageShift) is var slot and >= 0 ? At(slot, cluster) : 0;
        set
        {
            var slot = Find(cluster >> PageShift);
            if (slot >= 0 || value != 0)
                At(slot < 0 ? Add(cluster >> PageShift) : slot, cluster) = value;
        }
    }

    /// <summary>Clusters whose number is not 0 here or in <paramref name="other"/>, in the order of the file.</summary>
    public IEnumerable<int> Set(ClusterNumbers? other = null)
    {
        var pages = new HashSet<int>(_slots.Keys);
        if (other is not null)
            pages.UnionWith(other._slots.Keys);
        var ordered = new int[pages.Count];
        pages.CopyTo(ordered);
        Array.Sort(ordered);
        foreach (var page in ordered)
        {
            for (var cluster = page << PageShift; cluster - (page << PageShift) < PageEntries; cluster++)
            {
                if (this[cluster] != 0 || (other is not null && other[cluster] != 0))
                    yield return cluster;
            }
        }
    }

    /// <summary>The first cluster in a range whose number is not 0 here or in <paramref name="other"/>.</summary>
    /// <returns><paramref name="end"/> if there is none</returns>
    public int NextSet(ClusterNumbers other, int from, int end)
    {
        foreach (var page in OrderedPages(other, from >> PageShift))
        {
            var first = Math.Max(from, page << PageShift);
            for (var cluster = first; cluster < end && cluster - (page << PageShift) < PageEntries; cluster++)
            {
                if (this[cluster] != 0 || other[cluster] != 0)
                    return cluster;
            }

            if (page << PageShift >= end)
                break;
        }

        return end;
    }

    /// <summary>The pages of both from one on: kept from call to call, as calls go through the file in order.</summary>
    private ReadOnlySpan<int> OrderedPages(ClusterNumbers other, int from)
    {
        if (_ordered is null || _orderedOf != (_slots.Count, other._slots.Count))
        {
            var pages = new HashSet<int>(_slots.Keys);
            pages.UnionWith(other._slots.Keys);
            _ordered = [.. pages];
            Array.Sort(_ordered);
            _orderedOf = (_slots.Count, other._slots.Count);
        }

        var start = Array.BinarySearch(_ordered, from);
        return _ordered.AsSpan(start < 0 ? ~start : start);
    }

    private ref uint At(int slot, int cluster) =>
        ref _chunks[slot >> ChunkPageShift][((slot & ((1 << ChunkPageShift) - 1)) << PageShift) + (cluster & (PageEntries - 1))];

    private int Find(int page)
    {
        // Clusters come in the order of the file: mostly it is the same page again.
        if (page != _lastPage)
            (_lastPage, _lastSlot) = (page, _slots.TryGetValue(page, out var slot) ? slot : -1);
        return _lastSlot;
    }

    private int Add(int page)
    {
        var slot = _slots.Count;
        if (slot >> ChunkPageShift == _chunks.Count)
            _chunks.Add(new uint[1 << (ChunkPageShift + PageShift)]);
        _slots.Add(page, slot);
        (_lastPage, _lastSlot) = (page, slot);
        return slot;
    }
}
