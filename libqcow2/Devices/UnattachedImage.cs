using System;
using System.Threading;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

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
        options = options with { ReadOnly = !kind.Writes };
        using var offload = new OffloadPool(1);
        using var loop = new EventLoop(0, offload);
        using var ended = new ManualResetEventSlim();
        Outcome outcome = default;
        Exception? failure = null;
        loop.Start();
        loop.PostFromAnyThread(() => RunAsync().Forget());
        ended.Wait();
        return failure is null ? outcome : throw Refusals.From(failure, what);

        async LoopTask<int> RunAsync()
        {
            try
            {
                outcome = await EditAsync(options, edit, what, log);
            }
            catch (Exception error)
            {
                failure = error;
            }

            ended.Set();
            return 0;
        }
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
