using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Embedding;

/// <summary>Operations on the image itself, while the program uses it: its requests wait, whichever thread or queue they are of.</summary>
internal sealed partial class OpenImage
{
    private const string NotQcow2 = "it is raw: only qcow2 images have that";

    // One edit after the other; what only looks must not see half of one.
    private readonly AsyncLock _editing = new();
    private volatile string? _lost;

    /// <summary>Why nothing can be done with the image any more but closing it; null if it can.</summary>
    public string? Lost => _lost;

    /// <summary>Carries an edit out, on the loop of the image. Any thread that may wait.</summary>
    /// <exception cref="Exception">anything that <see cref="Failure.Of(Exception, string)"/> knows</exception>
    public Outcome Edit(ImageEdit edit)
    {
        Outcome outcome = default;
        return InTurn($"{ImageEdits.KindOf(edit).What(edit)} {Name}", async what =>
        {
            outcome = await EditAsync(edit, what);
            return 0;
        }) ?? outcome;
    }

    private string Name => _disk.File.Path;

    /// <summary>Runs something on the loop when no edit is in progress.</summary>
    /// <returns>null if it ran; else why it did not</returns>
    private Outcome? InTurn(string what, Func<string, LoopTask<int>> run)
    {
        if (!TryUse())
            return Refuse(what, -Errno.ESHUTDOWN, "it is being closed");
        try
        {
            Outcome? refused = null;
            OnHome(async () =>
            {
                await _editing.EnterAsync();
                try
                {
                    if (_lost is { } why)
                        refused = Refuse(what, -Errno.EIO, why);
                    return refused is null ? await run(what) : 0;
                }
                finally
                {
                    _editing.Exit();
                }
            });
            return refused;
        }
        finally
        {
            EndUse();
        }
    }

    private async LoopTask<Outcome> EditAsync(ImageEdit edit, string what)
    {
        var kind = ImageEdits.KindOf(edit);
        var disk = _disk;
        if (kind.Writes && disk.ReadOnly)
            return Refuse(what, -Errno.EROFS, "it is open for reading only");
        if (ImageEdits.RefuseDisk(kind, disk) is { } unsuitable)
            return Refuse(what, -Errno.EOPNOTSUPP, unsuitable.Why!);
        if (kind.Check is { } check && await check(edit, disk) is { } known)
            return ImageEdits.OutcomeOf(known, what);
        if (!kind.Writes)
            return ImageEdits.OutcomeOf(await ImageEdits.RunAsync(edit, disk), what);
        return kind.InSteps is { } steps && disk is Qcow2Image image
            ? await EditInStepsAsync(what, steps(edit, image))
            : await InPauseAsync(what, async () =>
            {
                var answer = await ImageEdits.RunAsync(edit, disk);
                if (kind.Reopens && answer.Result is EditResult.Done or EditResult.Failed)
                    await ReopenAsync(disk, what);
                return answer;
            });
    }

    /// <summary>Requests go on between the first and the last step.</summary>
    private async LoopTask<Outcome> EditInStepsAsync(string what, ILongEdit steps)
    {
        var begun = await InPauseAsync(what, steps.BeginAsync);
        if (!begun.Succeeded)
            return begun;
        await steps.WorkAsync();
        var ended = await InPauseAsync(what, steps.EndAsync);
        if (!ended.Succeeded)
            await steps.GiveUpAsync();
        return ended;
    }

    /// <summary>Runs what nobody may use the disk for.</summary>
    private async LoopTask<Outcome> InPauseAsync(string what, Func<LoopTask<EditAnswer>> run)
    {
        // What can be long comes first, while requests go on: they wait for the rest.
        if (await _disk.FlushAsync() is var error and < 0)
            return Refuse(what, error, $"cannot write out what is in memory: {Errno.Text(error)}");
        await HoldRequestsAsync();
        try
        {
            return ImageEdits.OutcomeOf(await run(), what);
        }
        finally
        {
            if (_lost is null)
                Gate.Release();
        }
    }

    /// <summary>Lets no request begin, and waits for those in progress, on the loop and on threads that transfer by themselves.</summary>
    private async LoopTask<int> HoldRequestsAsync()
    {
        var drained = ManualSource<int>.Rent();
        // A turn later: the last one tells of its end from the middle of its own work.
        Gate.Hold(() => _loop.Post(() => drained.SetResult(0)));
        await drained.Task;
        return await _disk.Epochs.WaitForQuietAsync();
    }

    /// <summary>What is in memory is of the disk before. On failure nothing can be done with the image any more.</summary>
    private async LoopTask<int> ReopenAsync(IDisk before, string what)
    {
        try
        {
            // Nobody finds the one before once it is being closed: threads look again inside its epoch.
            Served.Set(null);
            Interlocked.MemoryBarrier();
            if (await before.CloseAsync() is var error and < 0)
                throw new OutcomeException(OutcomeKind.Failed, what, $"closing failed: {Errno.Text(error)}") { Error = error };
            (_disk, _chain) = await OpenChainAsync();
            Served.Set(_disk);
            return 0;
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, what);
            _lost = $"the image could not be opened again after an edit ({refusal.Why})";
            Gate.RefuseWaiting(-Errno.EIO);
            throw new OutcomeException(OutcomeKind.Failed, what, _lost, "close it") { Error = ErrorNumbers.Of(refusal) };
        }
    }

    private LoopTask<(IDisk Disk, IReadOnlyList<ChainLink> Links)> OpenChainAsync() => _files.Length == 0
        ? ImageChain.OpenAsync(_options, _log)
        : ImageChain.OpenAsync(_files, _options, _log);

    private static Outcome Refuse(string what, int error, string why) =>
        Outcome.Refused(OutcomeKind.Failed, what, why) with { Error = error };
}
