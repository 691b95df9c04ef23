using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;

namespace Qcow2Blk.Devices;

/// <summary>Operations on the image of a device, while it is attached.</summary>
internal sealed partial class EngineDevice
{
    public async Task<Outcome> EditAsync(ImageEdit edit, TimeSpan timeout, CancellationToken cut)
    {
        var kind = ImageEdits.KindOf(edit);
        var what = $"{kind.What(edit)} {Name}";
        if (RefuseEdit(what, kind.Writes) is { } refused)
            return refused;
        if (kind.NeedsForce is { } danger && edit.Find(ImageEditKind.Force) is null)
            return Outcome.Refused(OutcomeKind.Busy, what, $"it is attached, and {danger}", "use --force if that is meant");
        var image = (Qcow2Image)_disk!;
        if (!kind.Writes)
            return await RunEditAsync(what, edit, image, timeout, cut) ?? NoAnswer(what);

        if (kind.Reopens)
            return await ReopenWithEditAsync(what, edit, timeout, cut);

        // What can be long comes first, while requests go on: the pause is then for the rest.
        if (await OnHomeAsync(image.FlushAsync, timeout, cut) is not { } flushed)
            return NoAnswer(what);
        if (flushed < 0)
            return FlushFailed(what, flushed);
        if (!await HoldRequestsAsync(timeout, cut))
        {
            Export.Release();
            return TooLate(what, timeout, "try a longer --timeout");
        }

        var outcome = await RunEditAsync(what, edit, image, s_closeTimeout, cut);
        if (outcome is not null)
            Export.Release();
        return outcome ?? NoAnswer(what);
    }

    /// <summary>The image becomes another one: as if it were suspended, edited by another program, and resumed.</summary>
    private async Task<Outcome> ReopenWithEditAsync(string what, ImageEdit edit, TimeSpan timeout, CancellationToken cut)
    {
        var suspended = await SuspendAsync(timeout, cut);
        if (!suspended.Succeeded)
            return suspended with { What = what };
        Outcome outcome;
        try
        {
            outcome = await Task.Run(() => UnattachedImage.Edit(_options, edit, _log), CancellationToken.None);
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, what);
            outcome = Outcome.Refused(refusal.Kind, what, refusal.Why, refusal.Hint) with { Error = ErrorNumbers.Of(refusal) };
        }

        // Whatever came of it, the disk goes on; a smaller one was asked for.
        var resumed = await ResumeAsync(allowShrink: true, LockTimeoutWithin(timeout), cut);
        if (!resumed.Succeeded)
            return resumed;
        return outcome.Succeeded ? outcome with { Note = outcome.Note ?? resumed.Note } : outcome with { What = what };
    }

    /// <summary>Why the image cannot be operated on now; null if it can.</summary>
    private Outcome? RefuseEdit(string what, bool writes)
    {
        switch ((DeviceState)_state)
        {
            case DeviceState.Suspended:
                return Outcome.Refused(OutcomeKind.Busy, what, "it is suspended", "resume it first");
            case DeviceState.Detaching:
                return Outcome.Refused(OutcomeKind.Busy, what, "it is being detached");
        }

        if (_disk is not Qcow2Image image)
            return Outcome.Refused(OutcomeKind.Failed, what, "its image is raw: only qcow2 images have that");
        return writes && image.ReadOnly
            ? Outcome.Refused(OutcomeKind.Failed, what, "it is attached read-only", "detach it, and name the image")
            : null;
    }

    /// <returns>null if it did not end in time: then its requests wait until it does</returns>
    private async Task<Outcome?> RunEditAsync(string what, ImageEdit edit, Qcow2Image image, TimeSpan timeout, CancellationToken cut)
    {
        EditAnswer answer = default;
        var editing = OnHomeAsync(async () =>
        {
            answer = await ImageEdits.RunAsync(edit, image);
            return 0;
        });
        if (!await EndsAsync(editing, timeout, cut))
        {
            _atStorage = editing;
            _ = editing.ContinueWith(_ => Export.Release(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
            return null;
        }

        await editing;
        return ImageEdits.OutcomeOf(answer, what);
    }
}
