using System.Collections.Generic;

namespace Qcow2Blk.Image;

/// <summary>A set of host clusters: a bit for each, in pieces that exist only where there is a member.</summary>
internal sealed class ClusterSet
{
    // Small pieces: tables of a sparse file lie far apart, and each costs a piece.
    private const int PieceShift = 9;
    private const int PieceWords = (1 << PieceShift) / 64;

    private readonly Dictionary<long, ulong[]> _pieces = [];
    private long _lastPiece = -1;
    private ulong[]? _lastWords;

    /// <returns>false if it was a member already</returns>
    public bool Add(long cluster)
    {
        var words = Find(cluster);
        if (words is null)
        {
            words = new ulong[PieceWords];
            _pieces.Add(cluster >> PieceShift, words);
            (_lastPiece, _lastWords) = (cluster >> PieceShift, words);
        }

        ref var word = ref words[WordOf(cluster)];
        var added = (word & BitOf(cluster)) == 0;
        word |= BitOf(cluster);
        return added;
    }

    public void Remove(long cluster)
    {
        if (Find(cluster) is { } words)
            words[WordOf(cluster)] &= ~BitOf(cluster);
    }

    public bool Contains(long cluster) => Find(cluster) is { } words && (words[WordOf(cluster)] & BitOf(cluster)) != 0;

    private static long WordOf(long cluster) => (cluster >> 6) & (PieceWords - 1);

    private static ulong BitOf(long cluster) => 1UL << (int)(cluster & 63);

    private ulong[]? Find(long cluster)
    {
        // Questions come in the order of the file: mostly it is the same piece again.
        var piece = cluster >> PieceShift;
        if (piece != _lastPiece)
            (_lastPiece, _lastWords) = (piece, _pieces.GetValueOrDefault(piece));
        return _lastWords;
    }
}
