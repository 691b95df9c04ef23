using System;
using Qcow2Blk.Image.Tables;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image;

/// <summary>Tables too large to be wholly in memory, cached in slices: L2 tables, refcount blocks.</summary>
internal abstract class SlicedTables(ImageContext context, SliceCache cache) : IDisposable
{
    /// <summary>Returned instead of a slot when no table exists for the key.</summary>
    public const int Absent = int.MinValue;

    private readonly WaitQueue _loaded = new();

    public SliceCache Cache { get; } = cache;

    protected ImageContext Context { get; } = context;

    /// <summary>The slot of a slice, read from the file if need be.</summary>
    /// <returns>
    /// the slot, valid until the caller awaits something else; <see cref="Absent"/>; or a negative errno
    /// </returns>
    public LoopTask<int> LoadAsync(long key)
    {
        var slot = Cache.Find(key);
        return slot >= 0 ? new LoopTask<int>(slot) : LoadMissingAsync(key, onlyToRead: false);
    }

    /// <summary>
    /// As <see cref="LoadAsync"/>, for who changes nothing in the slice: it comes even when the cache is full of what
    /// cannot be written, because a sync failed, the image is corrupt or the disk is full.
    /// </summary>
    public LoopTask<int> LoadToReadAsync(long key)
    {
        var slot = Cache.Find(key);
        return slot >= 0 ? new LoopTask<int>(slot) : LoadMissingAsync(key, onlyToRead: true);
    }

    public virtual void Dispose() => Cache.Dispose();

    /// <summary>Looks at a slice that was just read, before anybody uses it.</summary>
    /// <param name="slot">where it is</param>
    /// <param name="key">of the slice</param>
    /// <param name="hostOffset">where it was read from; its table may be elsewhere by now</param>
    protected virtual void Check(int slot, long key, long hostOffset)
    {
        // Refcounts may have any value; what is wrong with them shows when they are used.
    }

    /// <summary>Where the slice is in the file; 0 if there is none; a negative errno if the pointer to it is bad.</summary>
    protected abstract long Locate(long key);

    private async LoopTask<int> LoadMissingAsync(long key, bool onlyToRead)
    {
        var hasNoRoom = false;
        while (true)
        {
            var slot = Cache.Find(key);
            if (slot >= 0)
                return slot;
            var hostOffset = Locate(key);
            if (hostOffset <= 0)
                return hostOffset == 0 ? Absent : (int)hostOffset;
            if (Cache.IsLoading(key))
            {
                await _loaded.WaitAsync();
                continue;
            }

            slot = Cache.Claim(key);
            var isSpare = slot < 0 && hasNoRoom;
            if (isSpare && (slot = Cache.ClaimSpare(key)) < 0)
            {
                await _loaded.WaitAsync();
                continue;
            }

            if (slot < 0)
            {
                var error = await MakeRoomAsync(key);
                if (error < 0 && !onlyToRead)
                    return error;
                hasNoRoom = error < 0;
                continue;
            }

            var now = await FillAsync(slot, key, hostOffset);
            if (now > 0 && !isSpare)
                Cache.Loaded(slot, now);
            else
                Cache.Abandon(slot);

            // Who is woken runs later: what is in the spare slot stays until the caller awaits something.
            _loaded.WakeAll();
            if (now < 0)
                return (int)now;
            if (now > 0 && isSpare)
                return slot;
        }
    }

    /// <summary>Reads a slice into its slot.</summary>
    /// <returns>
    /// where it is now: the table may have moved meanwhile (copied because a snapshot shares it), its content is the same then;
    /// 0 if there is none any more; or a negative errno
    /// </returns>
    private async LoopTask<long> FillAsync(int slot, long key, long hostOffset)
    {
        try
        {
            var error = await Context.File.ReadAsync(hostOffset, Cache.Buffer(slot));
            if (error < 0)
                return error;
            var now = Locate(key);
            if (now > 0)
                Check(slot, key, hostOffset);
            return now;
        }
        catch (InvariantBreach breach)
        {
            return Context.Stop(breach);
        }
    }

    private LoopTask<int> MakeRoomAsync(long key)
    {
        // Every slot of the set is being read, dirty or being written: wait for a read, or write.
        if (Cache.IsSetLoading(key))
            return _loaded.WaitAsync();
        return Context.WriteError != 0 ? new LoopTask<int>(Context.WriteError) : Context.Commit();
    }
}
