using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// A chunk that is being read: one source is asked for it, and a second one if that takes too long. Each of the two has a buffer of
/// its own, and the bytes of one of them are taken, all of them.
/// </summary>
/// <param name="chunk">its number, for the proof</param>
/// <param name="offset">of its first byte</param>
/// <param name="buffer">for all of it</param>
/// <param name="isWanted">whether somebody waits for it</param>
internal sealed class ChunkRead(long chunk, long offset, NativeBuffer buffer, Func<bool> isWanted)
{
    public long Chunk { get; } = chunk;

    public long Offset { get; } = offset;

    public NativeBuffer Buffer { get; } = buffer;

    public Func<bool> IsWanted { get; } = isWanted;

    public Leg? First { get; private set; }

    public Leg? Second { get; private set; }

    /// <summary>When the first one was asked.</summary>
    public long Began { get; private set; }

    /// <summary>Whether it was asked for twice, now or at an earlier attempt: once is enough.</summary>
    public bool IsHedged { get; private set; }

    /// <summary>Answers that were not what the proof says.</summary>
    public int Bad { get; set; }

    /// <summary>How long the sources asked to be left alone in this round.</summary>
    public TimeSpan Pause { get; set; }

    public WaitQueue Changed { get; } = new();

    /// <summary>Whether there is an answer, or none will come any more.</summary>
    public bool IsDecided => Winner is not null || (First!.IsOver && Second is not { IsOver: false });

    public Leg? Winner => First is { IsGood: true } ? First : Second is { IsGood: true } ? Second : null;

    public void Begin(Leg first, long now) => (First, Second, Began) = (first, null, now);

    public void Hedge(Leg second) => (Second, IsHedged) = (second, true);

    /// <summary>One source that is asked.</summary>
    /// <param name="source">its place among the sources</param>
    /// <param name="buffer">belongs to the source until it is over</param>
    /// <param name="handle">to call it off</param>
    public sealed class Leg(int source, NativeBuffer buffer, ReadHandle handle)
    {
        public int Source { get; } = source;

        public NativeBuffer Buffer { get; } = buffer;

        public ReadHandle Handle { get; } = handle;

        /// <summary>Whether its failure is worth no word: another one is asked, too.</summary>
        public bool IsExtra { get; init; }

        public FetchResult Result { get; set; }

        /// <summary>Whether it failed because the source could not be opened, which was noted where that was tried.</summary>
        public bool IsNoted { get; set; }

        /// <summary>Whether what came is not what the proof says.</summary>
        public bool IsBad { get; set; }

        /// <summary>Whether the buffer is the source's no more.</summary>
        public bool IsOver { get; set; }

        public bool IsGood => IsOver && Result.IsDone && !IsBad;
    }
}
