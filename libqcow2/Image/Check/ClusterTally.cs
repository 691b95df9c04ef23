using System;
using System.Collections.Generic;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// A number for each cluster of a file, 0 at first. A byte for each where the file stores enough to deserve that, and only
/// for clusters that have a number where it is mostly holes: memory goes with what the file stores.
/// </summary>
internal sealed class ClusterTally
{
    /// <summary>The greatest number that is told apart. What is more stays at it.</summary>
    public const uint Most = uint.MaxValue;

    /// <summary>In a byte: the number is in <see cref="_large"/>.</summary>
    private const byte Elsewhere = byte.MaxValue;

    /// <summary>Large numbers beyond which every cluster gets four bytes: an entry of the dictionary takes ten times that.</summary>
    private const int LargeLimit = 1 << 16;
    private const int LargeShare = 32;

    private readonly Dictionary<int, uint> _large = [];
    private readonly ClusterNumbers? _sparse;
    private byte[] _small = [];
    private uint[]? _wide;

    /// <param name="clusters">of the file; there may be numbers beyond them</param>
    /// <param name="isDense">whether every cluster may cost a byte</param>
    public ClusterTally(int clusters, bool isDense)
    {
        if (isDense)
            _small = new byte[clusters];
        else
            _sparse = new ClusterNumbers();
    }

    /// <summary>The numbers of the file's clusters as bytes, 255 for large ones; empty if they are not kept so.</summary>
    public Span<byte> Small => _small;

    public uint this[int cluster]
    {
        get
        {
            if ((uint)cluster < (uint)_small.Length && _small[cluster] != Elsewhere)
                return _small[cluster];
            if (_sparse is not null)
                return _sparse[cluster];
            return _wide is not null && cluster < _wide.Length ? _wide[cluster] : _large.GetValueOrDefault(cluster);
        }

        set
        {
            if (_sparse is not null)
                _sparse[cluster] = value;
            else if (_wide is not null && cluster < _wide.Length)
                _wide[cluster] = value;
            else
                SetDense(cluster, value);
        }
    }

    /// <summary>Clusters for which there is memory where the file is mostly holes; 0 where it is not.</summary>
    public long SparseCapacity => _sparse?.Capacity ?? 0;

    public void Add(int cluster, long number)
    {
        if (number == 1 && (uint)cluster < (uint)_small.Length && _small[cluster] < Elsewhere - 1)
            _small[cluster]++;
        else
            this[cluster] = (uint)Math.Min(Most, this[cluster] + number);
    }

    /// <summary>Adds one, if the number is kept in a byte and stays one, and at most <paramref name="most"/>.</summary>
    public bool TryAddOne(int cluster, ulong most)
    {
        if ((uint)cluster >= (uint)_small.Length || _small[cluster] >= Elsewhere - 1 || _small[cluster] >= most)
            return false;
        _small[cluster]++;
        return true;
    }

    /// <summary>
    /// The numbers of clusters from one on that are the same in another tally; empty where the first is not, or is not kept in a byte.
    /// </summary>
    public ReadOnlySpan<byte> SameAs(ClusterTally other, int from, int end)
    {
        // What is looked through for nothing, if it is in vain, is short.
        const int longest = 4096;
        var stop = Math.Min(Math.Min(end, from + longest), Math.Min(_small.Length, other._small.Length));
        if (stop <= from)
            return [];
        var mine = _small.AsSpan(from, stop - from);
        var same = mine[..mine.CommonPrefixLength(other._small.AsSpan(from, stop - from))];
        return same.IndexOf(Elsewhere) is var large and >= 0 ? same[..large] : same;
    }

    /// <summary>The first cluster of a range that has a number in one of two tallies.</summary>
    /// <param name="other">kept in the same way</param>
    /// <returns><paramref name="end"/> if there is none</returns>
    public int NextSet(ClusterTally other, int from, int end)
    {
        if (_sparse is not null)
            return _sparse.NextSet(other._sparse!, from, end);
        while (from < end)
        {
            if (_wide is null && other._wide is null && from < _small.Length)
            {
                var stop = Math.Min(end, _small.Length);
                from += Math.Min(Zeroes(_small.AsSpan(from, stop - from)), Zeroes(other._small.AsSpan(from, stop - from)));
                if (from == stop && stop < end)
                    continue;
                return from;
            }

            if (this[from] != 0 || other[from] != 0)
                return from;
            from++;
        }

        return end;
    }

    private static int Zeroes(ReadOnlySpan<byte> span) => span.IndexOfAnyExcept((byte)0) is var found and >= 0 ? found : span.Length;

    private void SetDense(int cluster, uint value)
    {
        if ((uint)cluster < (uint)_small.Length)
        {
            var isLarge = value >= Elsewhere;
            if (!isLarge && _small[cluster] == Elsewhere)
                _large.Remove(cluster);
            _small[cluster] = isLarge ? Elsewhere : (byte)value;
            if (!isLarge)
                return;
        }

        _large[cluster] = value;
        if (_large.Count > Math.Max(LargeLimit, _small.Length / LargeShare))
            Widen();
    }

    private void Widen()
    {
        var wide = new uint[_small.Length];
        for (var cluster = 0; cluster < wide.Length; cluster++)
            wide[cluster] = _small[cluster] == Elsewhere ? _large.GetValueOrDefault(cluster) : _small[cluster];
        for (var cluster = 0; cluster < wide.Length; cluster++)
        {
            if (_small[cluster] == Elsewhere)
                _large.Remove(cluster);
        }

        (_wide, _small) = (wide, []);
    }
}
