namespace Qcow2Blk.Remote.Cache;

/// <summary>What the map says of one chunk: 64 bits, the upper half its CRC-32C, then 24 bits of generation, then flags.</summary>
/// <remarks>
/// Every change takes the next generation. A word is written as 8 bytes that need not appear at one instant: as long as one of them
/// is of another generation, the word is none that was seen before, so that whoever compares words notices the change.
/// </remarks>
internal readonly record struct ChunkWord(ulong Raw)
{
    private const ulong ValidFlag = 1;
    private const ulong PinnedFlag = 2;
    private const ulong KnownFlags = ValidFlag | PinnedFlag;
    private const int GenerationShift = 8;
    private const uint GenerationMask = (1 << 24) - 1;
    private const int ChecksumShift = 32;

    /// <summary>Whether the chunk was stored. A word with a flag that is not known is not one of ours.</summary>
    public bool IsValid => (Raw & 0xff & ~PinnedFlag) == ValidFlag;

    public bool IsPinned => (Raw & 0xff) == KnownFlags;

    public uint Checksum => (uint)(Raw >> ChecksumShift);

    private uint Generation => (uint)(Raw >> GenerationShift) & GenerationMask;

    /// <summary>The word after the chunk was stored.</summary>
    public ChunkWord Stored(uint checksum, bool pin) =>
        new(((ulong)checksum << ChecksumShift) | NextGeneration | ValidFlag | (pin ? PinnedFlag : 0));

    /// <summary>The word before the chunk is removed.</summary>
    public ChunkWord Cleared() => new(NextGeneration);

    private ulong NextGeneration => (ulong)((Generation + 1) & GenerationMask) << GenerationShift;
}
