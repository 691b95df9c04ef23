using System;
using System.Collections.Generic;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices.Edits;

/// <summary>What can be done with checkpoints.</summary>
internal static class CheckpointEdits
{
    public static IReadOnlyDictionary<string, ImageEditKind> All { get; } = new Dictionary<string, ImageEditKind>
    {
        ["checkpoint-list"] =
            new(_ => "cannot list the checkpoints of", Writes: false, [], (_, image) => image.ListCheckpointsAsJsonAsync()),
        ["checkpoint-create"] = Change("create", ["granularity"], (edit, image) =>
            image.CheckpointEditor!.CreateAsync(edit.Need(Name), Granularity(edit), DateTimeOffset.UtcNow)),
        ["checkpoint-delete"] = Change("delete", [], (edit, image) =>
            image.RefuseWhileRead() is { } read ? new LoopTask<EditAnswer>(read)
                : image.CheckpointEditor!.DeleteAsync(edit.Need(Name))),
    };

    private const string Name = "name";

    private static readonly SizeKind s_size = new(1, long.MaxValue, "any");

    private static ImageEditKind Change(string verb, string[] arguments, Func<ImageEdit, Qcow2Image, LoopTask<EditAnswer>> run) =>
        new(edit => $"cannot {verb} checkpoint {edit.Find(Name)} of", Writes: true, [Name, .. arguments], run);

    /// <exception cref="OutcomeException">it is not a size</exception>
    private static long? Granularity(ImageEdit edit) =>
        edit.Find("granularity") is { } text ? s_size.Parse("--granularity", text) : null;
}
