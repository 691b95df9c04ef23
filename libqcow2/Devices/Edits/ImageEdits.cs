using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices.Edits;

/// <summary>The operations on images that there are, and how their answers become outcomes.</summary>
internal static class ImageEdits
{
    private static readonly Dictionary<string, ImageEditKind> s_kinds =
        BitmapEdits.All.Concat(SnapshotEdits.All).Concat(CheckpointEdits.All).Concat(ResizeEdits.All).ToDictionary();

    /// <summary>Checks what can be checked without the image.</summary>
    /// <exception cref="OutcomeException">there is no such edit, or it knows no such argument</exception>
    public static ImageEditKind KindOf(ImageEdit edit)
    {
        ArgumentNullException.ThrowIfNull(edit);
        if (!s_kinds.TryGetValue(edit.Name, out var kind))
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"bad edit {edit.Name}", "there is no such operation",
                Nearest.Hint(edit.Name, s_kinds.Keys));
        }

        var unknown = edit.Arguments.Keys.FirstOrDefault(argument => !kind.Arguments.Contains(argument));
        return unknown is null ? kind
            : throw new OutcomeException(
                OutcomeKind.Invalid, $"bad {edit.Name}", $"it knows no {unknown}", Nearest.Hint(unknown, kind.Arguments));
    }

    /// <summary>Carries it out, on the home loop of the disk, which nobody uses meanwhile if the edit writes.</summary>
    public static async LoopTask<EditAnswer> RunAsync(ImageEdit edit, IDisk disk)
    {
        ArgumentNullException.ThrowIfNull(disk);
        var kind = KindOf(edit);
        if (RefuseDisk(kind, disk) is { } unsuitable)
            return unsuitable;
        if (kind.Check is { } check && await check(edit, disk) is { } answer)
            return answer;
        if (disk is RawDisk raw)
            return await kind.RunRaw!(edit, raw);
        var image = (Qcow2Image)disk;
        return kind.Writes ? await image.EditAsync(() => kind.Run(edit, image)) : await kind.Run(edit, image);
    }

    /// <summary>Why it is not for this disk; null if it is.</summary>
    public static EditAnswer? RefuseDisk(ImageEditKind kind, IDisk disk)
    {
        if (disk is not Qcow2Image && (kind.RunRaw is null || disk is not RawDisk))
            return EditAnswer.Refused(EditResult.Failed, "it is raw: only qcow2 images have that");
        return kind.Writes && disk.ReadOnly ? EditAnswer.Refused(EditResult.Failed, "it is open read-only") : null;
    }

    /// <param name="answer">of the image</param>
    /// <param name="what">what was not done, if it was not</param>
    public static Outcome OutcomeOf(EditAnswer answer, string what) => answer.Succeeded
        ? Outcome.Done(answer.Note) with { Json = answer.Json }
        : Outcome.Refused(KindOf(answer.Result), what, answer.Why!, answer.Hint) with { Error = ErrorOf(answer) };

    /// <summary>Nothing of that name is in the image: not to be taken for a device that is not there.</summary>
    private static int ErrorOf(EditAnswer answer) =>
        answer.Error == 0 && answer.Result == EditResult.NotFound ? -Errno.ENOENT : answer.Error;

    private static OutcomeKind KindOf(EditResult result) => result switch
    {
        EditResult.Invalid => OutcomeKind.Invalid,
        EditResult.NotFound => OutcomeKind.NotFound,
        EditResult.Busy => OutcomeKind.Busy,
        _ => OutcomeKind.Failed,
    };
}
