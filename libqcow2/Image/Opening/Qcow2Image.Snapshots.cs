using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Snapshots;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Opening;

/// <summary>Internal snapshots.</summary>
internal sealed partial class Qcow2Image
{
    /// <summary>What makes and removes them; null if the image is only read.</summary>
    public SnapshotEditor? SnapshotEditor => _writable is null ? null
        : new SnapshotEditor(_writable.Snapshots) { Dirtied = new DirtiedBitmaps(_writable.Snapshots, _bitmaps.Editor, _bitmaps.Set) };

    /// <summary>What makes and removes checkpoints; null if the image is only read.</summary>
    public CheckpointEditor? CheckpointEditor =>
        _writable is null ? null : new CheckpointEditor(_writable.Snapshots, _bitmaps.Editor, _bitmaps.Set);

    /// <summary>Why no snapshot may go: somebody else has the image open to read one.</summary>
    /// <returns>null if nobody does</returns>
    public EditAnswer? RefuseWhileRead() => (File as FileStorage)?.Lock?.FindReader() is { } reader
        ? EditAnswer.Refused(EditResult.Busy, $"{reader.Name} reads the image, maybe this snapshot", "end that first")
        : null;

    /// <summary>The checkpoints as JSON. At any time.</summary>
    public async LoopTask<EditAnswer> ListCheckpointsAsJsonAsync()
    {
        try
        {
            return await CheckpointList.ToJsonAsync(await ListSnapshotsAsync(), _bitmaps.Set, _bitmaps.Editor);
        }
        catch (Exception error) when (error is ImageFormatException or System.IO.IOException)
        {
            return EditAnswer.Refused(EditResult.Failed, (error as ImageFormatException)?.Why ?? error.Message);
        }
    }

    /// <summary>The internal snapshots as JSON. At any time.</summary>
    public async LoopTask<EditAnswer> ListSnapshotsAsJsonAsync()
    {
        try
        {
            return EditAnswer.Done with { Json = SnapshotList.ToJson(await ListSnapshotsAsync(), Header.Size) };
        }
        catch (Exception error) when (error is ImageFormatException or System.IO.IOException)
        {
            return EditAnswer.Refused(EditResult.Failed, (error as ImageFormatException)?.Why ?? error.Message);
        }
    }
}
