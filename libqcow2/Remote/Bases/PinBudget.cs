namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// What one trace may pin, in its order: a trace may be anybody's, and names more than a cache holds if it likes. What it names beyond
/// that is kept as anything else is.
/// </summary>
/// <param name="bytes">that it may pin</param>
/// <param name="chunks">of the base</param>
/// <param name="chunkBytes">bytes of a chunk</param>
internal sealed class PinBudget(long bytes, long chunks, int chunkBytes)
{
    private readonly ulong[] _named = new ulong[((chunks - 1) >> 6) + 1];
    private long _left = bytes;

    /// <summary>Whether a chunk that the trace names is pinned; of one that it named before, that was said then.</summary>
    public bool Take(long chunk)
    {
        ref var word = ref _named[chunk >> 6];
        var bit = 1ul << (int)(chunk & 63);
        if ((word & bit) != 0 || _left < chunkBytes)
            return false;
        word |= bit;
        _left -= chunkBytes;
        return true;
    }
}
