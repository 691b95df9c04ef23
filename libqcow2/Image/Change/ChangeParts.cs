using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Data;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Change;

/// <summary>What the parts that change an image have in common: the parts of the image, and who may change what just now.</summary>
/// <param name="Context">the image</param>
/// <param name="Options">how it is served</param>
/// <param name="Map">where guest clusters are</param>
/// <param name="Data">guest bytes</param>
/// <param name="Space">places for guest clusters</param>
/// <param name="Refcounts">of host clusters; for checks of our own rules</param>
/// <param name="Committer">brings changes to disk</param>
/// <param name="Preparation">what comes before the first change</param>
internal sealed record ChangeParts(
    ImageContext Context, ImageOptions Options, GuestMap Map, GuestData Data, GuestSpace Space, RefcountBlocks Refcounts,
    Committer Committer, Preparation Preparation)
{
    public ClusterLocks Locks { get; } = new();

    public WriteTurns Turns { get; } = new(Context.Epochs);

    private int _showing;

    /// <summary>Whether entries of a raw data file are seen that are not on disk yet: then nothing is written in place. Any loop.</summary>
    public bool IsShowing => Volatile.Read(ref _showing) != 0;

    /// <summary>Before such entries are seen, under the locks of their clusters.</summary>
    public void BeginShow() => Volatile.Write(ref _showing, _showing + 1);

    /// <summary>They are on disk; the locks are let go after this.</summary>
    public void EndShow() => Volatile.Write(ref _showing, _showing - 1);

    /// <summary>Waits for a commit if the recovery log has little room left.</summary>
    /// <returns>0, or a negative errno</returns>
    public LoopTask<int> MakeRoomInLogAsync() =>
        Context.Log is { IsNearlyFull: true } ? Committer.FlushAsync() : new LoopTask<int>(0);

    /// <summary>An entry changes only under its cluster's lock, inside an epoch, and once the header was prepared for it.</summary>
    public void RequireMayChange(GuestCluster first, long count)
    {
        Invariant.Holds(Locks.IsHeld(first, count), "an L2 entry is changed only under the lock of its cluster", first.Number, count);
        Invariant.Holds(Preparation.IsDone, "no entry changes before the header says who writes the image", first.Number);
        if (Invariant.Thorough)
            Invariant.Holds(Context.Epochs.InProgress > 0, "the mapping is changed only inside an epoch", first.Number);
    }

    /// <summary>Queues what an entry pointed to, which no entry in memory does any more.</summary>
    public void Free(in L2Entry old)
    {
        Space.Free(old);
        if (old.Kind == L2Kind.Compressed)
            Data.Compressed.Forget(old.Host);
    }
}
