using System;
using System.Numerics;

namespace Qcow2Blk.Remote.Bases;

/// <summary>Chunks of a base that its image refers to: the others are holes of its file, and need not be read ahead.</summary>
/// <param name="length">bytes of the base</param>
/// <param name="chunkBytes">bytes of a chunk</param>
internal sealed class UsedChunks(long length, int chunkBytes)
{
    private readonly ulong[] _bits = new ulong[(((length - 1) / chunkBytes) >> 6) + 1];

    /// <summary>How many there are.</summary>
    public int Count
    {
        get
        {
            var count = 0;
            foreach (var bits in _bits)
                count += BitOperations.PopCount(bits);
            return count;
        }
    }

    /// <summary>Notes that the image refers to a range.</summary>
    /// <param name="offset">of the range, hostile</param>
    /// <param name="bytes">of it</param>
    public void Add(long offset, long bytes)
    {
        if (offset < 0 || offset >= length || bytes <= 0)
            return;
        var last = (offset + Math.Min(bytes, length - offset) - 1) / chunkBytes;
        for (var chunk = offset / chunkBytes; chunk <= last; chunk++)
            _bits[chunk >> 6] |= 1ul << (int)(chunk & 63);
    }

    public bool Contains(long chunk) => (_bits[chunk >> 6] & (1ul << (int)(chunk & 63))) != 0;
}
