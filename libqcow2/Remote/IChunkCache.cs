using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Remote;

/// <summary>
/// Chunks of one base on local storage, shared by all processes of the node that serve it. Trouble with the storage is
/// logged and never an error: what cannot be kept or read back is not there. On the home loop, unless a member says otherwise.
/// </summary>
internal interface IChunkCache : ICachedFile, IDisposable
{
    /// <summary>Bytes of a chunk, a power of two; the last one of the base may be shorter.</summary>
    int ChunkBytes { get; }

    /// <summary>Whether some process has stored the chunk. Cheap; what it says may be over at once.</summary>
    bool IsStored(long chunk);

    /// <summary>Bytes of the base that are stored now, by whomever.</summary>
    long StoredBytes { get; }

    /// <summary>Bytes that one trace may pin: less than the cache may hold, so that there is always something that can go.</summary>
    long MostPinnedByTrace { get; }

    /// <summary>Reads a range inside one chunk. The chunk's checksum is verified when this process first uses it.</summary>
    /// <returns>1 if the bytes are there; 0 if the chunk is not stored, or not as it was stored</returns>
    LoopTask<int> ReadAsync(long offset, NativeBuffer buffer);

    /// <summary>
    /// Takes the right to fetch a chunk, among all processes; waits a while if another one has it. A process that ends loses it.
    /// </summary>
    /// <returns>
    /// 1 if the caller is to fetch it, and then to <see cref="StoreAsync"/> or <see cref="Abandon"/>; 0 if it is stored by now, or
    /// another one has kept it for so long that whoever needs it should fetch it, too, without storing it
    /// </returns>
    LoopTask<int> ClaimAsync(long chunk);

    /// <summary>Stores a chunk that was claimed, and ends the claim.</summary>
    /// <param name="chunk">its number</param>
    /// <param name="bytes">all of it</param>
    /// <param name="pin">whether it is kept when room is needed: metadata of the image, what a trace names</param>
    LoopTask<int> StoreAsync(long chunk, NativeBuffer bytes, bool pin);

    /// <summary>Ends a claim without having the chunk.</summary>
    void Abandon(long chunk);
}
