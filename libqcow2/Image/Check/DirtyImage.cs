using System;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// What opening an image for writing repairs by itself, as qemu does: the refcounts of one whose dirty bit is set (lazy refcounts).
/// Nothing else is repaired without being asked for.
/// </summary>
internal static class DirtyImage
{
    /// <summary>Repairs a file that nobody else uses, then clears the dirty bit.</summary>
    /// <param name="file">the image file</param>
    /// <param name="path">for messages</param>
    /// <param name="progress">hears how far it is</param>
    /// <returns>0 or a negative errno; the image is still dirty then, and can be tried again</returns>
    /// <exception cref="ImageFormatException">the image is damaged in a way that this does not mend: nothing was changed</exception>
    public static async LoopTask<int> RepairAsync(IBlockStorage file, string path, Action<string, double>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(file);

        // What its last writer left in the page cache must not look like a hole: there were file systems that knew of such
        // data only after a sync.
        var error = await file.FlushAsync();
        if (error < 0)
            return error;
        var result = new CheckResult();
        var found = await Examination.RunAsync(file, CheckMode.All, result, progress);
        if (result.ReadError < 0)
            return result.ReadError;
        if (result.Stopped is { } why)
            throw Unrepairable(path, why);
        if (Repair.ErrorsThatStay(found!, CheckMode.All) > 0)
            throw Unrepairable(path, result.Findings[0].Message);
        error = await Repair.RunAsync(found!, CheckMode.All);
        return result.Stopped is null ? error : throw Unrepairable(path, result.Stopped);
    }

    private static ImageFormatException Unrepairable(string path, string why) =>
        new(path, "incompatible_features",
            $"image was not closed cleanly and cannot be repaired: {why} (try qcow2blk check --repair all on a copy)");
}
