using System;
using Qcow2Blk.Image.Change;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Snapshots;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Resizing;

/// <summary>What another size needs of an image that is open for writing.</summary>
/// <param name="Tables">changes of whole tables</param>
/// <param name="Bitmaps">persistent bitmaps, which are as large as the disk</param>
/// <param name="Changes">changes of the disk</param>
/// <param name="Allocator">of host clusters</param>
/// <param name="CommitAllAsync">commits until nothing is left</param>
internal sealed record ResizeParts(
    SnapshotParts Tables, BitmapList Bitmaps, GuestChanges Changes, Allocator Allocator, Func<LoopTask<int>> CommitAllAsync);
