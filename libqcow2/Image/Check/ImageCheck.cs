using System;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>Checks an image, repairs what was asked for, and checks again.</summary>
internal static class ImageCheck
{
    /// <param name="file">the image file; open for writing if something is to be repaired</param>
    /// <param name="mode">what may be repaired</param>
    /// <param name="progress">hears what is done, and the fraction that is done of it</param>
    /// <returns>how the image is now; what was repaired is counted as such and no longer among the errors</returns>
    /// <exception cref="ImageFormatException">it is no image, or one of a kind that nobody knows</exception>
    public static async LoopTask<CheckResult> RunAsync(IBlockStorage file, CheckMode mode, Action<string, double>? progress = null)
    {
        var repaired = new CheckResult();
        if (mode != CheckMode.Report)
        {
            await RepairAsync(file, mode, repaired, progress);
            if (repaired.Stopped is not null)
                return repaired;
        }

        var result = new CheckResult { ErrorsFixed = repaired.ErrorsFixed, LeaksFixed = repaired.LeaksFixed };
        await Examination.RunAsync(file, CheckMode.Report, result, progress);
        return result;
    }

    private static async LoopTask<int> RepairAsync(IBlockStorage file, CheckMode mode, CheckResult result, Action<string, double>? progress)
    {
        // What its last writer left in the page cache must not look like a hole: there were file systems that knew of such
        // data only after a sync.
        var error = await file.FlushAsync();
        if (error >= 0 && await Examination.RunAsync(file, mode, result, progress) is { } found && result.Stopped is null)
        {
            // A repair is another writer: what the log of the dead server has could not be replayed after it.
            if (found.Image.Header.Autoclear.RecoveryMark() != 0)
                result.Stop("its last server died, and its recovery log may have changes: attach and detach the image first");
            else
                error = await Repair.RunAsync(found, mode);
        }

        if (error < 0)
        {
            result.ReadError = error;
            result.Stop($"repairing failed (errno {-error})");
        }

        return 0;
    }
}
