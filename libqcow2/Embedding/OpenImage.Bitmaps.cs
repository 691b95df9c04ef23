using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Embedding;

/// <summary>What bitmaps say of the disk.</summary>
internal sealed partial class OpenImage
{
    /// <summary>The bits of a bitmap as they are at one moment, for the caller to look at and to dispose of.</summary>
    /// <param name="name">of the bitmap</param>
    /// <param name="bits">null if it was refused</param>
    /// <returns>how it went</returns>
    public Outcome CopyBitmap(string name, out DirtyBitmap? bits)
    {
        DirtyBitmap? copy = null;
        Outcome outcome = default;
        var refused = InTurn($"cannot read bitmap {name} of {Name}", async what =>
        {
            if (_disk is not Qcow2Image image)
            {
                outcome = Refuse(what, -Errno.EOPNOTSUPP, NotQcow2);
                return 0;
            }

            (var answer, copy) = await image.BitmapEditor.CopyAsync(name);
            outcome = ImageEdits.OutcomeOf(answer, what);
            return 0;
        });
        bits = copy;
        return refused ?? outcome;
    }
}

/// <summary>Walks over what a bitmap says of a range of the disk.</summary>
internal static class BitmapStatus
{
    /// <summary>The run that begins at an offset.</summary>
    public static StatusExtent At(DirtyBitmap bits, long offset, long length)
    {
        var (isDirty, run) = bits.RunAt(offset, length);
        return new StatusExtent((ulong)offset, (ulong)run, isDirty ? StatusExtent.Dirty : 0, Depth: 0);
    }
}
