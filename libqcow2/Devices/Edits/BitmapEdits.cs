using System;
using System.Collections.Generic;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices.Edits;

/// <summary>What can be done with persistent dirty bitmaps.</summary>
internal static class BitmapEdits
{
    public static IReadOnlyDictionary<string, ImageEditKind> All { get; } = new Dictionary<string, ImageEditKind>
    {
        ["bitmap-list"] = new(_ => "cannot list the bitmaps of", Writes: false, [], (_, image) => image.BitmapEditor.ListAsync()),
        ["bitmap-add"] = Change("add", "to", ["granularity", "disabled"], (edit, image) =>
            image.BitmapEditor.AddAsync(edit.Need(Name), Granularity(edit), edit.Find("disabled") is null)),
        ["bitmap-remove"] = Change("remove", "from", [], (edit, image) => image.BitmapEditor.RemoveAsync(edit.Need(Name))),
        ["bitmap-clear"] = Change("clear", "of", [], (edit, image) => image.BitmapEditor.ClearAsync(edit.Need(Name))),
        ["bitmap-enable"] = Change("enable", "of", [], (edit, image) =>
            image.BitmapEditor.SetRecordingAsync(edit.Need(Name), records: true)),
        ["bitmap-disable"] = Change("disable", "of", [], (edit, image) =>
            image.BitmapEditor.SetRecordingAsync(edit.Need(Name), records: false)),
        ["bitmap-merge"] = Change("merge into", "of", ["from"], (edit, image) =>
            image.BitmapEditor.MergeAsync(edit.Need(Name), edit.Need("from"))),
    };

    private const string Name = "name";

    private static readonly SizeKind s_size = new(1, long.MaxValue, "any");

    private static ImageEditKind Change(
        string verb, string preposition, string[] arguments, Func<ImageEdit, Qcow2Image, LoopTask<EditAnswer>> run) =>
        new(edit => $"cannot {verb} bitmap {edit.Find(Name)} {preposition}", Writes: true, [Name, .. arguments], run);

    /// <exception cref="OutcomeException">it is not a size</exception>
    private static long? Granularity(ImageEdit edit) =>
        edit.Find("granularity") is { } text ? s_size.Parse("--granularity", text) : null;
}
