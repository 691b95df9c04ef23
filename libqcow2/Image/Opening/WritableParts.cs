using System;
using Qcow2Blk.Image.Change;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Data;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Resizing;
using Qcow2Blk.Image.Snapshots;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>The parts that an image has only if it is written.</summary>
internal sealed class WritableParts : IDisposable
{
    private readonly ImageContext _context;
    private readonly SpaceParts _space;
    private readonly BitmapList _bitmaps;

    public WritableParts(ImageContext context, ImageOptions options, GuestMap map, GuestData data, SpaceParts space, BitmapList bitmaps)
    {
        _context = context;
        _space = space;
        _bitmaps = bitmaps;
        Committer = new Committer(context, space.Refcounts, map.Tables, space.Frees);
        context.Commit = Committer.FlushAsync;
        Preparation = new Preparation(context, bitmaps);
        var places = new GuestSpace(context, space.Allocator, space.Frees);
        Replay = new LogReplay(context, options, map, space.Refcounts, space.Allocator, places, Preparation, Committer);
        Snapshots = new SnapshotParts(context, map, space.Refcounts, space.Allocator, space.Frees, Committer);
        Changes = new GuestChanges(
            new ChangeParts(context, options, map, data, places, space.Refcounts, Committer, Preparation), space.Frees);
    }

    public Committer Committer { get; }

    public Preparation Preparation { get; }

    public LogReplay Replay { get; }

    public GuestChanges Changes { get; }

    /// <summary>For changes of whole tables.</summary>
    public SnapshotParts Snapshots { get; }

    /// <summary>For another size of the disk.</summary>
    public ResizeParts Resizing => new(Snapshots, _bitmaps, Changes, _space.Allocator, CommitAllAsync);

    /// <summary>Commits until nothing is left: what a commit frees needs one more for the lower refcounts.</summary>
    public async LoopTask<int> CommitAllAsync()
    {
        do
        {
            var error = await Committer.FlushAsync();
            await _space.Frees.DrainAsync();
            if (error < 0)
                return error;
        }
        while (!Committer.IsClean || !_space.Frees.IsEmpty);
        return _context.WriteError;
    }

    /// <summary>Everything is in the image, and no mark says that it is being changed.</summary>
    public async LoopTask<int> SettleAsync()
    {
        var error = await CommitAllAsync();
        if (error == 0)
            error = await Preparation.StoreBitmapsAsync();
        if (error == 0)
            error = await _space.Allocator.TrimFileAsync();
        if (error == 0)
            error = await Preparation.UndoMarkAsync();
        if (error == 0)
            _bitmaps.RemoveShadow();
        return error;
    }

    /// <summary>Completes when nothing is written any more by a commit or by what it has freed.</summary>
    public async LoopTask<int> DrainAsync()
    {
        await Committer.DrainAsync();
        return await _space.Frees.DrainAsync();
    }

    public void Dispose()
    {
        Committer.Dispose();
        _space.Refcounts.Dispose();
    }
}
