using System;

namespace Qcow2Blk.Image;

/// <summary>A set of host clusters: a bit for each, in pieces that exist only where there is a member.</summary>
internal sealed class ClusterSet
{
    private const int PieceShift = 16;
    private const int PieceWords = (1 << PieceShift) / 64;

    private ulong[]?[] _pieces = new ulong[]?[16];

    /// <returns>false if it was a member already</returns>
    public bool Add(long cluster)
    {
        var piece = checked((int)(cluster >> PieceShift));
        if (piece >= _pieces.Length)
            Array.Resize(ref _pieces, Math.Max(piece + 1, _pieces.Length * 2));
        var words = _pieces[piece] ??= new ulong[PieceWords];
        ref var word = ref words[(cluster >> 6) & (PieceWords - 1)];
        var bit = 1UL << (int)(cluster & 63);
        if ((word & bit) != 0)
            return false;
        word |= bit;
        return true;
    }

    public void Remove(long cluster)
    {
        if (Contains(cluster))
            _pieces[cluster >> PieceShift]![(cluster >> 6) & (PieceWords - 1)] &= ~(1UL << (int)(cluster & 63));
    }

    public bool Contains(long cluster)
    {
        var piece = cluster >> PieceShift;
        return piece < _pieces.Length
            && _pieces[piece] is { } words
            && (words[(cluster >> 6) & (PieceWords - 1)] & (1UL << (int)(cluster & 63))) != 0;
    }
}
