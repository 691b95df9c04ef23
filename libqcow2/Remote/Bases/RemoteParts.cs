namespace Qcow2Blk.Remote.Bases;

/// <summary>What a base is made of.</summary>
/// <param name="Length">its bytes</param>
/// <param name="ChunkBytes">bytes of a chunk</param>
/// <param name="Version">what tells it from others of its name; null if nothing does</param>
/// <param name="Sources">where it comes from</param>
/// <param name="Cache">where it is kept; null if it is not</param>
/// <param name="Proof">what its chunks have to be; null if nothing says that</param>
/// <param name="Counters">what reads of it cost</param>
internal readonly record struct RemoteParts(
    long Length, int ChunkBytes, string? Version, SourcePool Sources, IChunkCache? Cache, IChunkProof? Proof, RemoteCounters Counters);
