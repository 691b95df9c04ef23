using System;
using Qcow2Blk.Format;

namespace Qcow2Blk.Remote.Cache;

/// <summary>Where everything is in the files of an entry: pure arithmetic.</summary>
/// <param name="Length">bytes of the base, more than 0</param>
/// <param name="ChunkBytes">of a chunk</param>
internal readonly record struct ChunkLayout(long Length, int ChunkBytes)
{
    public const int HeaderBytes = 4096;

    /// <summary>What is given up for room at a time.</summary>
    public const int SegmentBytes = 64 << 20;

    /// <summary>A map of more would take half a gigabyte: such a base takes larger chunks.</summary>
    private const long MaxChunks = 1L << 26;

    // Direct transfers are whole blocks of the device: none has larger ones than a small chunk.
    private const int DataUnit = RemoteSettings.MinChunkBytes;

    public static bool IsChunkSize(int bytes) =>
        bytes is >= RemoteSettings.MinChunkBytes and <= RemoteSettings.MaxChunkBytes && (bytes & (bytes - 1)) == 0;

    /// <summary>Whether an entry can be like that.</summary>
    public bool IsPossible => IsChunkSize(ChunkBytes) && Length is > 0 and <= Limits.MaxFileBytes - DataUnit && Chunks <= MaxChunks;

    public int ChunkShift => int.Log2(ChunkBytes);

    public long Chunks => (Length + ChunkBytes - 1) >> ChunkShift;

    public int ChunksPerSegment => SegmentBytes / ChunkBytes;

    public int Segments => (int)((Chunks + ChunksPerSegment - 1) / ChunksPerSegment);

    /// <summary>Bytes of the base in a chunk: fewer in the last one.</summary>
    public int BytesOf(long chunk) => (int)Math.Min(ChunkBytes, Length - (chunk << ChunkShift));

    /// <summary>Bytes that a chunk takes in the file of data.</summary>
    public int PaddedBytesOf(long chunk) => (int)Rounding.Up(BytesOf(chunk), DataUnit);

    public long DataFileBytes => Rounding.Up(Length, DataUnit);

    public static long WordOffset(long chunk) => HeaderBytes + (chunk * sizeof(ulong));

    private long StampsOffset => Rounding.Up(WordOffset(Chunks), HeaderBytes);

    /// <summary>Where the last use of a segment is: seconds since 1970, 0 for never.</summary>
    public long StampOffset(int segment) => StampsOffset + (segment * (long)sizeof(ulong));

    public long MapFileBytes => Rounding.Up(StampOffset(Segments), HeaderBytes);
}
