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
using Qcow2Blk.Exports;
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
        if (kind.Check is not null && await CheckEditAsync(what, kind, edit, timeout, cut) is { } known)
            return known;
        var disk = _disk!;
        if (!kind.Writes)
            return await RunEditAsync(what, () => ImageEdits.RunAsync(edit, disk), timeout, cut) ?? NoAnswer(what);

        if (kind.Reopens)
            return await ReopenWithEditAsync(what, edit, timeout, cut);

        var image = (Qcow2Image)disk;
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
        if (!outcome.Succeeded)
            return outcome with { What = what };
        return outcome.Note is { } note && resumed.Note is { } more ? outcome with { Note = $"{note}; {more}" }
            : outcome with { Note = outcome.Note ?? resumed.Note };
    }

    /// <summary>Why the image cannot be operated on now; null if it can.</summary>
    private Outcome? RefuseEdit(string what, ImageEditKind kind) => RefuseEdit(what, kind.Writes)
        ?? (ImageEdits.RefuseDisk(kind, _disk!) is { } refused ? ImageEdits.OutcomeOf(refused, what) : null);

    private Outcome? RefuseEdit(string what, bool writes)
    {
        switch ((DeviceState)_state)
        {
            case DeviceState.Suspended:
                return Outcome.Refused(OutcomeKind.Busy, what, "it is suspended", "resume it first");
            case DeviceState.Detaching:
                return Outcome.Refused(OutcomeKind.Busy, what, "it is being detached");
        }

        return writes && _disk!.ReadOnly
            ? Outcome.Refused(OutcomeKind.Failed, what, "it is attached read-only", "detach it, and name the image")
            : null;
    }

    /// <summary>What can be answered while requests go on.</summary>
    /// <returns>null if the edit has to be carried out</returns>
    private async Task<Outcome?> CheckEditAsync(
        string what, ImageEditKind kind, ImageEdit edit, TimeSpan timeout, CancellationToken cut)
    {
        EditAnswer? answer = null;
        var disk = _disk!;
        if (await OnHomeAsync(CheckAsync, timeout, cut) is null)
            return NoAnswer(what);
        if (answer is { } known)
            return ImageEdits.OutcomeOf(known, what);
        if (kind.SizeAfter is not { } sizeAfter)
            return null;
        var size = sizeAfter(edit, disk.Size);
        if (_options.IsBlockDevice && new BlockDeviceSize(size, _options.BlockSize).Refusal is { } tooSmall)
            return Outcome.Refused(OutcomeKind.Failed, what, tooSmall, "another size");
        if (size >= disk.Size || edit.Find(ImageEditKind.Force) is not null || await FindUserOrClientAsync() is not { } user)
            return null;
        return Outcome.Refused(OutcomeKind.Busy, what, $"it is {user}, and who uses it would lose what is behind the new end",
            "use --force if that is meant");

        async LoopTask<int> CheckAsync()
        {
            answer = await kind.Check!(edit, disk);
            return 0;
        }
    }

    private async Task<string?> FindUserOrClientAsync() =>
        Export.DevicePath is not null ? await FindUserAsync() : Export.Connections > 0 ? "in use by clients" : null;

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
