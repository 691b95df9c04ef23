using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>A chunk on its way here, and those who wait for it.</summary>
internal sealed class ChunkFetch(long chunk)
{
    public const int Pending = 0;

    public const int Arrived = 1;

    public long Chunk { get; } = chunk;

    /// <summary>Whether the cache is to keep it when room is needed.</summary>
    public bool Pin { get; set; }

    /// <summary>Whether nobody waited for it when it was asked for.</summary>
    public bool IsAhead { get; init; }

    /// <summary>All of the chunk once it has arrived; stays while there are <see cref="Users"/>.</summary>
    public NativeBuffer Buffer { get; set; }

    /// <summary><see cref="Pending"/>, <see cref="Arrived"/> or a negative errno.</summary>
    public int Result { get; set; } = Pending;

    /// <summary>Whether it is zeroes, and was never sent.</summary>
    public bool IsHole { get; set; }

    /// <summary>Requests that wait for it, or copy from it.</summary>
    public int Users { get; set; }

    /// <summary>Whether the one that fetches it has done all it had to.</summary>
    public bool IsOver { get; set; }

    public WaitQueue Waiters { get; } = new();
}
