using System;
using System.Collections.Generic;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices.Edits;

/// <summary>What can be done with internal snapshots.</summary>
internal static class SnapshotEdits
{
    public static IReadOnlyDictionary<string, ImageEditKind> All { get; } = new Dictionary<string, ImageEditKind>
    {
        ["snapshot-list"] = new(_ => "cannot list the snapshots of", Writes: false, [], (_, image) => image.ListSnapshotsAsJsonAsync()),
        ["snapshot-create"] = Change("create", "of", (edit, image) =>
            image.SnapshotEditor!.CreateAsync(edit.Need(Name), DateTimeOffset.UtcNow)) with
        {
            InSteps = (edit, image) => image.NewSnapshot(edit.Need(Name), DateTimeOffset.UtcNow),
        },
        ["snapshot-delete"] = Change("delete", "of", (edit, image) =>
            image.RefuseWhileRead() is { } read ? new LoopTask<EditAnswer>(read) : image.SnapshotEditor!.DeleteAsync(edit.Need(Name))),
        ["snapshot-revert"] = Change("revert to", "of", (edit, image) => image.SnapshotEditor!.RevertAsync(edit.Need(Name))) with
        {
            Arguments = [Name, ImageEditKind.Force],
            Reopens = true,
            NeedsForce = "its users would see other contents at once",
        },
    };

    private const string Name = "name";

    private static ImageEditKind Change(
        string verb, string preposition, Func<ImageEdit, Qcow2Image, LoopTask<EditAnswer>> run) =>
        new(edit => $"cannot {verb} snapshot {edit.Find(Name)} {preposition}", Writes: true, [Name], run);
}
