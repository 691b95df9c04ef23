using Qcow2Blk.Image;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>Checkpoints of an image in the engine on a simulated loop.</summary>
internal static class CheckpointScene
{
    public static EditAnswer CreateCheckpoint(this OneImage one, string name, long? granularity = null) => one.Loop.RunUntilComplete(
        one.Image.EditAsync(() => one.Image.CheckpointEditor!.CreateAsync(name, granularity, SnapshotScene.Taken)));

    public static EditAnswer DeleteCheckpoint(this OneImage one, string name) =>
        one.Loop.RunUntilComplete(one.Image.EditAsync(() => one.Image.CheckpointEditor!.DeleteAsync(name)));
}
