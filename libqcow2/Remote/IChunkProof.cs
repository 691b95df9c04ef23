using System;

namespace Qcow2Blk.Remote;

/// <summary>What the chunks of a base have to be: a manifest that was verified itself. Any thread.</summary>
internal interface IChunkProof
{
    /// <summary>Bytes of a chunk, a power of two.</summary>
    int ChunkBytes { get; }

    /// <summary>Bytes of the base.</summary>
    long Length { get; }

    /// <summary>The root hash, in hexadecimal digits: the identity of the base.</summary>
    string Root { get; }

    /// <summary>Whether the chunk is all zeroes: it need not be fetched.</summary>
    bool IsZero(long chunk);

    /// <summary>Whether these are the bytes of the chunk.</summary>
    bool Holds(long chunk, ReadOnlySpan<byte> bytes);
}
