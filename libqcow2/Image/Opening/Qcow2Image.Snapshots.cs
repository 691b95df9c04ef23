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

    /// <summary>Makes a snapshot while the disk is used. The image is open for writing.</summary>
    public ILongEdit NewSnapshot(string name, DateTimeOffset taken) =>
        new LiveSnapshot(this, new SnapshotCreation(_writable!.Snapshots, name, taken));

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

    /// <summary>A snapshot that is still being made is given up: nobody uses the disk, and nothing is counted when this returns.</summary>
    private async LoopTask<int> EndPendingSnapshotAsync()
    {
        if (_writable is not { Snapshots.Pending: { } pending } writable)
            return 0;
        await pending.GiveUpAsync();
        var error = await writable.CommitAllAsync();
        return error < 0 ? error : await pending.EndAsync();
    }

    /// <summary>The steps of a snapshot as edits of the image, or between them.</summary>
    private sealed class LiveSnapshot(Qcow2Image image, SnapshotCreation creation) : ILongEdit
    {
        private EditAnswer _counted;

        public LoopTask<EditAnswer> BeginAsync() => image.EditAsync(async () =>
        {
            var answer = await creation.BeginAsync();
            if (!answer.Succeeded)
                await creation.EndAsync();
            return answer;
        });

        public async LoopTask<EditAnswer> WorkAsync() => _counted = await creation.CountAsync(inTurns: true);

        public LoopTask<EditAnswer> EndAsync() => image.EditAsync(
            async () =>
            {
                var answer = _counted.Succeeded ? await creation.PublishAsync() : _counted;
                await creation.EndAsync();
                return answer;
            },
            creation);

        public LoopTask<int> GiveUpAsync() => creation.GiveUpAsync();

        public void Cancel() => creation.Cancel();
    }
}
