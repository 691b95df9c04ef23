using System.Collections.Generic;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices.Edits;

/// <summary>A disk of another size.</summary>
internal static class ResizeEdits
{
    /// <summary>The argument that says that what is behind a smaller disk's end may be lost.</summary>
    public const string Shrink = "shrink";

    public static IReadOnlyDictionary<string, ImageEditKind> All { get; } = new Dictionary<string, ImageEditKind>
    {
        ["resize"] = new(_ => "cannot resize", Writes: true, [Size, Shrink, ImageEditKind.Force], (edit, image) =>
            RunAsync(edit, image.Size, size => image.Resize!.RunAsync(size)))
        {
            Reopens = true,
            Check = CheckAsync,
            RunRaw = (edit, disk) => RunAsync(edit, disk.Size, disk.ResizeAsync),
            SizeAfter = (edit, before) => Change(edit).Of(before, out _) ?? before,
        },
    };

    private const string Size = "size";

    private static SizeChange Change(ImageEdit edit) => SizeChange.Parse(edit.Need(Size));

    /// <summary>Everything that may be refused is refused here: nothing was changed yet, nobody waits.</summary>
    private static async LoopTask<EditAnswer?> CheckAsync(ImageEdit edit, IDisk disk)
    {
        if (Change(edit).Of(disk.Size, out _) is not { } size)
        {
            return EditAnswer.Refused(EditResult.Invalid,
                $"the disk has {disk.Size} bytes, and there is none of the size that {edit.Need(Size)} makes of it",
                "a disk has at least one byte, and less than 8E");
        }

        if (size == disk.Size)
            return Done(disk.Size, size, edit);
        var mayShrink = edit.Find(Shrink) is not null;
        return disk is Qcow2Image image ? await image.Resize!.RefuseAsync(size, mayShrink) : ((RawDisk)disk).RefuseSize(size, mayShrink);
    }

    private static async LoopTask<EditAnswer> RunAsync(ImageEdit edit, long before, System.Func<long, LoopTask<EditAnswer>> resize)
    {
        var size = Change(edit).Of(before, out _)!.Value;
        var answer = await resize(size);
        if (!answer.Succeeded)
            return answer;
        var done = Done(before, size, edit);
        return done with { Note = answer.Note is { } note ? done.Note is { } more ? $"{more}; {note}" : note : done.Note };
    }

    private static EditAnswer Done(long before, long size, ImageEdit edit)
    {
        Change(edit).Of(before, out var isRounded);
        return EditAnswer.Done with
        {
            Note = isRounded ? $"rounded up to {size} bytes: a disk has whole sectors" : null,
            Json = $"{{\"virtual-size\":{size},\"former-virtual-size\":{before}}}",
        };
    }
}
