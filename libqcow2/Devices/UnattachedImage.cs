using System;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices;

/// <summary>Operations on an image that is not attached: it is opened as attach opens it, with its locks, for this alone.</summary>
internal static class UnattachedImage
{
    /// <param name="options">the image, and how it and its backing files are to be opened</param>
    /// <param name="edit">what to do with it</param>
    /// <param name="log">for what happens beside it</param>
    /// <exception cref="OutcomeException">it cannot be opened, or there is no such operation</exception>
    public static Outcome Edit(AttachOptions options, ImageEdit edit, ILog log)
    {
        ArgumentNullException.ThrowIfNull(options);
        var kind = ImageEdits.KindOf(edit);
        var what = $"{kind.What(edit)} {options.Image}";
        options = options with { ReadOnly = !kind.Writes, IsForEditAlone = true };
        Outcome outcome = default;
        try
        {
            LoopForOne.Run(async () =>
            {
                outcome = await EditAsync(options, edit, what, log);
                return 0;
            });
        }
        catch (Exception error)
        {
            throw Refusals.From(error, what);
        }

        return outcome;
    }

    private static async LoopTask<Outcome> EditAsync(AttachOptions options, ImageEdit edit, string what, ILog log)
    {
        var (disk, _) = await ImageChain.OpenAsync(options, log);
        EditAnswer answer;
        try
        {
            answer = await ImageEdits.RunAsync(edit, disk);
        }
        catch
        {
            await disk.CloseAsync();
            throw;
        }

        var closed = await disk.CloseAsync();
        if (closed < 0 && answer.Succeeded)
            answer = EditAnswer.OfErrno(closed, "closing failed");
        return ImageEdits.OutcomeOf(answer, what);
    }
}
