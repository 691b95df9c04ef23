using System;
using System.Buffers;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices;

/// <summary>Operations on the image of a device, while it is attached.</summary>
internal sealed partial class EngineDevice
{
    // How long the last edit held requests back.
    private TimeSpan _lastPause;

    public async Task<Outcome> EditAsync(ImageEdit edit, TimeSpan timeout, CancellationToken cut)
    {
        var kind = ImageEdits.KindOf(edit);
        var what = $"{kind.What(edit)} {Name}";
        if (RefuseEdit(what, kind) is { } refused)
            return refused;
        if (kind.NeedsForce is { } danger && edit.Find(ImageEditKind.Force) is null)
            return Outcome.Refused(OutcomeKind.Busy, what, $"it is attached, and {danger}", "use --force if that is meant");
        var image = (Qcow2Image)_disk!;
        if (!kind.Writes)
            return await RunEditAsync(what, () => ImageEdits.RunAsync(edit, image), timeout, cut) ?? NoAnswer(what);

        if (kind.Reopens)
            return await ReopenWithEditAsync(what, edit, timeout, cut);

        return kind.InSteps is null
            ? await InPauseAsync(what, image, () => ImageEdits.RunAsync(edit, image), timeout, cut)
            : await EditInStepsAsync(what, image, kind.InSteps(edit, image), timeout, cut);
    }

    /// <summary>Requests go on between the first and the last step.</summary>
    private async Task<Outcome> EditInStepsAsync(
        string what, Qcow2Image image, ILongEdit steps, TimeSpan timeout, CancellationToken cut)
    {
        var start = Stopwatch.GetTimestamp();
        var begun = await InPauseAsync(what, image, steps.BeginAsync, timeout, cut);
        if (!begun.Succeeded)
            return begun;
        var firstPause = _lastPause;
        var working = OnHomeAsync(async () => (await steps.WorkAsync()).Error);
        var left = timeout - Stopwatch.GetElapsedTime(start);
        if (!await EndsAsync(working, left > TimeSpan.Zero ? left : TimeSpan.Zero, cut))
        {
            steps.Cancel();
            if (!await EndsAsync(working, s_closeTimeout, cut))
            {
                // Whoever closes the image waits for it, and takes it back.
                _atStorage = working;
                return NoAnswer(what);
            }
        }

        await working;
        var ended = await InPauseAsync(what, image, steps.EndAsync, timeout, cut);
        if (!ended.Succeeded)
            await OnHomeAsync(steps.GiveUpAsync, s_closeTimeout, cut);
        return ended with { Json = WithPause(ended.Json, firstPause > _lastPause ? firstPause : _lastPause) };
    }

    /// <summary>Runs what nobody may use the disk for.</summary>
    private async Task<Outcome> InPauseAsync(
        string what, Qcow2Image image, Func<LoopTask<EditAnswer>> edit, TimeSpan timeout, CancellationToken cut)
    {
        // What can be long comes first, while requests go on: the pause is then for the rest.
        if (await OnHomeAsync(image.FlushAsync, timeout, cut) is not { } flushed)
            return NoAnswer(what);
        if (flushed < 0)
            return FlushFailed(what, flushed);
        var start = Stopwatch.GetTimestamp();
        if (!await HoldRequestsAsync(timeout, cut))
        {
            Export.Release();
            return TooLate(what, timeout, "try a longer --timeout");
        }

        var outcome = await RunEditAsync(what, edit, s_closeTimeout, cut);
        if (outcome is not null)
            Export.Release();
        _lastPause = Stopwatch.GetElapsedTime(start);
        return outcome ?? NoAnswer(what);
    }

    /// <summary>Adds how long requests were held back to what an edit tells.</summary>
    private static string? WithPause(string? json, TimeSpan pause)
    {
        if (json is null)
            return null;
        using var told = JsonDocument.Parse(json);
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            foreach (var property in told.RootElement.EnumerateObject())
                property.WriteTo(writer);
            writer.WriteNumber("pause-us"u8, (long)pause.TotalMicroseconds);
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
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
    private Outcome? RefuseEdit(string what, ImageEditKind kind)
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
        return kind.Writes && image.ReadOnly
            ? Outcome.Refused(OutcomeKind.Failed, what, "it is attached read-only", "detach it, and name the image")
            : null;
    }

    /// <returns>null if it did not end in time: then its requests wait until it does</returns>
    private async Task<Outcome?> RunEditAsync(
        string what, Func<LoopTask<EditAnswer>> edit, TimeSpan timeout, CancellationToken cut)
    {
        EditAnswer answer = default;
        var editing = OnHomeAsync(async () =>
        {
            answer = await edit();
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
