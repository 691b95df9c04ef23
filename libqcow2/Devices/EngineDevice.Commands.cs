using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices;

/// <summary>Suspend, resume and detach.</summary>
internal sealed partial class EngineDevice
{
    // A flush during suspend or detach that takes longer than this is a dead disk.
    private static readonly TimeSpan s_closeTimeout = TimeSpan.FromMinutes(5);

    // The opening or closing of the image that was begun last: it may go on although nobody waits for it any more.
    private Task? _atStorage;

    public async Task<Outcome> SuspendAsync(TimeSpan timeout, CancellationToken cut)
    {
        var what = $"cannot suspend {Name}";
        switch ((DeviceState)_state)
        {
            case DeviceState.Suspended:
                return Outcome.Done($"{Name} is already suspended");
            case DeviceState.Detaching:
                return Outcome.Refused(OutcomeKind.Failed, what, "it is being detached");
        }

        Become(DeviceState.Suspending);
        if (!await HoldRequestsAsync(timeout, cut))
        {
            GoOn();
            return TooLate(what, timeout, "try a longer --timeout");
        }

        return await FlushAndCloseAsync(what, cut);
    }

    public Task<Outcome> ResumeAsync(bool allowShrink, TimeSpan timeout, TimeSpan? lockTimeout, CancellationToken cut) =>
        ResumeAsync(allowShrink, lockTimeout ?? LockTimeoutWithin(timeout), cut);

    private async Task<Outcome> ResumeAsync(bool allowShrink, TimeSpan lockTimeout, CancellationToken cut)
    {
        if ((DeviceState)_state != DeviceState.Suspended)
            return Outcome.Done($"{Name} is not suspended");
        var what = $"cannot resume {Name}";
        const string hint = "it stays suspended and its requests are held: fix it and resume again";
        var before = _served.Size;
        try
        {
            await OpenChainAsync(lockTimeout, cut);
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, what);
            return Outcome.Refused(refusal.Kind, what, refusal.Why, refusal.Hint ?? hint) with { Error = ErrorNumbers.Of(refusal) };
        }

        var size = _disk!.Size;
        if (RefuseSize(what, before, size, allowShrink) is { } refused)
        {
            await CloseDiskAsync(s_closeTimeout, cut);
            return refused;
        }

        _served.Set(_disk);
        var note = size == before ? null : SizeNote(before, size);
        GoOn();
        return Outcome.Done(note);
    }

    private Outcome? RefuseSize(string what, long before, long size, bool allowShrink)
    {
        if (_options.IsBlockDevice && new BlockDeviceSize(size, _options.BlockSize).Refusal is { } refusal)
            return Outcome.Refused(OutcomeKind.Failed, what, refusal, "resize the image and resume again");
        return size >= before || allowShrink
            ? null
            : Outcome.Refused(
                OutcomeKind.Failed, what, $"the disk was {before} bytes and is now {size}", "use --allow-shrink if that is meant") with
            {
                Error = -Errno.ERANGE,
            };
    }

    /// <summary>What a command that says nothing of locks gives them: as attach did, within its own time.</summary>
    private TimeSpan LockTimeoutWithin(TimeSpan timeout) =>
        _options.EffectiveLockTimeout < timeout ? _options.EffectiveLockTimeout : timeout;

    private string SizeNote(long before, long size)
    {
        var note = $"the disk has {size} bytes now (was {before})";
        if (_options.IsBlockDevice && new BlockDeviceSize(size, _options.BlockSize).Warning is { } tail)
            note = $"{note}; {tail}";
        return Export.Resize(size) is { } more ? $"{note}; {more}" : note;
    }

    public async Task<Outcome> DetachAsync(bool force, TimeSpan timeout, CancellationToken cut)
    {
        // What the kernel has to write down, and what waits for its turn, is to be done within the timeout.
        _served.Limits.Lift();
        var result = await DetachUnlimitedAsync(force, timeout, cut);
        if (result.Succeeded)
            return result;
        _served.Limits.Restore();
        Home.PostFromAnyThread(() => BaseStatus.SetPatience(_chain, isPatient: true));
        return result;
    }

    private async Task<Outcome> DetachUnlimitedAsync(bool force, TimeSpan timeout, CancellationToken cut)
    {
        var what = $"cannot detach {Name}";
        var suspended = (DeviceState)_state == DeviceState.Suspended;
        if (Export.DevicePath is not null)
        {
            if (suspended && !force && await ReopenToDetachAsync(what, timeout, cut) is { } refused)
                return refused;
            suspended &= force;
            if (await TakeFromUsersAsync(what, suspended, force, timeout, cut) is { } ended)
                return ended;
            // There is no way back: its users have lost the device.
            (force, cut) = (true, CancellationToken.None);
        }

        // Nobody uses the disk any more: who waits for a source that is away waits for nothing.
        Home.PostFromAnyThread(() => BaseStatus.SetPatience(_chain, isPatient: false));
        var drained = suspended || await HoldRequestsAsync(timeout, cut);
        if (!drained && !force)
        {
            GoOn();
            return TooLate(what, timeout, "try a longer --timeout, or --force");
        }

        if (!suspended && _disk is not null)
            return await FlushAndDetachAsync(what, force, drained, timeout, cut);
        return await EndsAsync(_atStorage ?? Task.CompletedTask, timeout, cut) ? End(0) : Abandon();
    }

    /// <summary>The kernel may still have something to write: a suspended device is resumed for that.</summary>
    /// <returns>null if it was, or is not needed; else why the detach is refused</returns>
    private async Task<Outcome?> ReopenToDetachAsync(string what, TimeSpan timeout, CancellationToken cut)
    {
        if (await FindUserAsync() is { } user)
            return InUse(what, user);
        var resumed = await ResumeAsync(allowShrink: false, LockTimeoutWithin(timeout), cut);
        return resumed.Succeeded
            ? null
            : Outcome.Refused(resumed.Kind, what,
                $"it is suspended, the kernel may have data to write, and it cannot be resumed: {resumed.Why}",
                "fix that; --force discards unwritten data");
    }

    private Outcome InUse(string what, string user) =>
        Outcome.Refused(OutcomeKind.Busy, what, $"{DevicePath} is {user}",
            "stop using it, or use --lazy to wait; --force takes the disk away");

    /// <summary>Ends a block device for its users, while it still serves what the kernel has to write down.</summary>
    /// <returns>null if there is none any more; else how the detach ended</returns>
    private async Task<Outcome?> TakeFromUsersAsync(string what, bool suspended, bool force, TimeSpan timeout, CancellationToken cut)
    {
        if (!force && await FindUserAsync() is { } user)
            return InUse(what, user);
        if (suspended)
            Export.Refuse(-Errno.EIO);
        // What cannot be written is said while the device can still be kept.
        if (!force && _disk is not null && await OnHomeAsync(_disk.FlushAsync, timeout, cut) is var flushed and not 0)
        {
            return flushed is null
                ? NoAnswer(what)
                : FlushFailed(what, flushed.Value, "a flush failed",
                    "--force detaches anyway and loses what was written since the previous flush");
        }

        var error = await BlockingAsync(() => Export.Stop(force, timeout));
        if (error == -Errno.ETIMEDOUT && force)
            error = await StopByRefusingAsync(timeout);
        if (error == 0)
            return null;
        if (force)
            return Abandon();
        return error == -Errno.EBUSY
            ? InUse(what, await FindUserAsync() ?? "in use")
            : FlushFailed(what, error, "the kernel could not write out its cached data", "--force detaches anyway and loses that");
    }

    /// <summary>
    /// The kernel still writes down what it had cached, slowly. What it has not sent yet is refused, so that the image can be
    /// closed.
    /// </summary>
    private async Task<int> StopByRefusingAsync(TimeSpan timeout)
    {
        Export.Refuse(-Errno.EIO);
        var error = await BlockingAsync(() => Export.Stop(force: true, timeout));
        _cutOff = error == 0;
        return error;
    }

    private async Task<Outcome> FlushAndCloseAsync(string what, CancellationToken cut)
    {
        if (await OnHomeAsync(_disk!.FlushAsync, s_closeTimeout, cut) is not { } error)
        {
            GoOn();
            return NoAnswer(what);
        }

        // A disk that cannot be written any more is closed all the same: then it can be mended.
        if (error < 0 && _disk is not { WriteErrorReason: not null })
        {
            GoOn();
            return FlushFailed(what, error);
        }

        return await CloseForSuspendAsync(what, cut);
    }

    private async Task<Outcome> FlushAndDetachAsync(string what, bool force, bool drained, TimeSpan timeout, CancellationToken cut)
    {
        // Before the point of no return: what cannot be written must not be dropped without being asked to.
        var error = await OnHomeAsync(_disk!.FlushAsync, timeout, cut);
        if (error is null or < 0 && !force)
        {
            GoOn();
            return error is null
                ? NoAnswer(what)
                : FlushFailed(what, error.Value, "the last flush failed",
                    "--force detaches anyway and loses what was written since the previous flush");
        }

        if (!drained || error is null)
            return Abandon();
        Become(DeviceState.Detaching);
        var closing = await CloseDiskAsync(timeout, CancellationToken.None);
        return closing is null ? Abandon() : End(error < 0 ? error.Value : closing.Value);
    }

    private Outcome End(int error)
    {
        Become(DeviceState.Detaching);
        Export.Dispose();
        if (error == 0)
            return Outcome.Done(_cutOff ? "the kernel did not write out its cached data in time: it is lost" : null);
        return Outcome.Done($"the last flush failed ({Errno.Text(error)}): what was written since the previous flush may be lost");
    }

    /// <summary>
    /// Ends a device whose requests do not end. Nothing of it is freed, as they may still use it: the process goes,
    /// and the kernel takes everything back.
    /// </summary>
    private Outcome Abandon()
    {
        _abandoned = true;
        End(0);
        return Outcome.Done("requests were still in progress: what they were writing may be lost");
    }

    private static Outcome NoAnswer(string what) =>
        Outcome.Refused(OutcomeKind.Failed, what, "its storage did not answer in time", "try a longer --timeout") with
        {
            Error = -Errno.ETIMEDOUT,
        };

    private static Outcome TooLate(string what, TimeSpan timeout, string hint) =>
        Outcome.Refused(OutcomeKind.Failed, what, $"requests did not end within {timeout.TotalSeconds:0.#} s", hint) with
        {
            Error = -Errno.ETIMEDOUT,
        };

    private static Outcome FlushFailed(string what, int error, string saying = "flush failed", string? hint = null) =>
        Outcome.Refused(OutcomeKind.Failed, what, $"{saying}: {Errno.Text(error)}", hint) with { Error = error };

    private async Task<Outcome> CloseForSuspendAsync(string what, CancellationToken cut)
    {
        var lost = _disk?.WriteErrorReason;
        var error = await CloseDiskAsync(s_closeTimeout, cut);
        StaySuspended();

        // The disk that knew it is gone, and the next one will not know: every client has to hear of it.
        if (lost is not null || error is < 0)
            _served.NoteLoss();
        if (error is not null)
            ForgetLog();
        if (error == 0)
            return Outcome.Done();
        if (error is null)
            return NoAnswer(what);

        // Not opened again by itself: that would wipe out that acknowledged writes may be lost.
        return Outcome.Refused(
            OutcomeKind.Failed,
            $"suspended {Name}, but its image was not closed cleanly",
            lost ?? $"closing failed: {Errno.Text(error.Value)}",
            "check the image before \"qcow2blk resume\"") with
        { Error = error.Value };
    }

    /// <summary>From now on others edit the image: what the log says of it must never be replayed.</summary>
    private void ForgetLog()
    {
        if (ChooseLog().Path is not { } log)
            return;
        _ = Unistd.Unlink(log);
        ShadowFile.Remove(log);
    }

    private void StaySuspended()
    {
        Become(DeviceState.Suspended);
        _suspension?.Begin();
    }

    /// <returns>0 or a negative errno; null if it did not end in time (it may still)</returns>
    private async Task<int?> CloseDiskAsync(TimeSpan timeout, CancellationToken cut)
    {
        var closing = OnHomeAsync(_disk!.CloseAsync);
        _atStorage = closing;
        _disk = null;
        return await EndsAsync(closing, timeout, cut) ? await closing : null;
    }

    /// <summary>Closes the gate and waits until no request is in progress.</summary>
    private async Task<bool> HoldRequestsAsync(TimeSpan timeout, CancellationToken cut)
    {
        using var drained = new LoopSignal();
        Export.Hold(drained.Set);
        return await EndsAsync(drained.Seen, timeout, cut);
    }

    private void GoOn()
    {
        Become(DeviceState.Running);
        _suspension?.End();
        Export.Release();
    }
}
