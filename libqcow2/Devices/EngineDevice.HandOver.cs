using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices;

/// <summary>Leaving a block device to the next server.</summary>
internal sealed partial class EngineDevice
{
    public Task<string?> FindUserAsync() => BlockingAsync(Export.FindUser);

    public void LeaveAsIs() => _abandoned = true;

    public async Task<Outcome> HandOverAsync(TimeSpan timeout, bool ending, CancellationToken cut)
    {
        // A request of the kernel's NBD that a limit holds back has been taken off its connection: it is done before that is passed on.
        _served.Limits.Lift();
        var result = await HandOverUnlimitedAsync(timeout, ending, cut);
        if (!result.Succeeded)
            _served.Limits.Restore();
        return result;
    }

    private async Task<Outcome> HandOverUnlimitedAsync(TimeSpan timeout, bool ending, CancellationToken cut)
    {
        var what = $"cannot hand {Name} over";
        if (Export.DevicePath is null)
        {
            return Outcome.Refused(OutcomeKind.Failed, what, "it is an NBD server: its clients are connected to this process",
                "detach it and attach it again; clients then reconnect");
        }

        switch ((DeviceState)_state)
        {
            case DeviceState.Suspended:
                return Outcome.Refused(OutcomeKind.Busy, what, "it is suspended", "resume it first");
            case DeviceState.Detaching:
                return Outcome.Refused(OutcomeKind.Busy, what, "it is being detached");
        }

        // The next server would not know of it.
        if (_served.BlockDevice.HasUntold)
        {
            const string why = "writes were lost, and no flush has reported it yet";
            return Outcome.Refused(OutcomeKind.Failed, what, why, "run \"sync\", which fails, then try again");
        }

        if (!await HoldRequestsAsync(timeout, cut))
        {
            GoOn();
            return TooLate(what, timeout, "try a longer --timeout");
        }

        var flushed = await OnHomeAsync(_disk!.FlushAsync, timeout, cut);
        if (flushed != 0)
        {
            GoOn();
            return flushed is null ? NoAnswer(what)
                : FlushFailed(what, flushed.Value);
        }

        var closed = await CloseDiskAsync(s_closeTimeout, cut);
        if (closed is null)
        {
            StaySuspended();
            return Outcome.Refused(OutcomeKind.Failed, what, "its storage did not answer in time",
                "it is suspended now: resume it once the storage answers");
        }

        if (closed < 0)
            _served.NoteLoss();
        var kept = new List<int>();
        var error = closed < 0 ? closed.Value : await BlockingAsync(() => Export.HandOver(timeout, kept));
        if (error < 0)
            return await GoBackAsync(what, error, timeout, ending, cut);
        Become(DeviceState.Detaching);

        // Behind pairs of descriptors, so that the number of all tells whether there is one.
        if (_options.HeldKey is { } key && KeyHandOver.Send(key) is var keyFile and >= 0)
            kept.Add(keyFile);
        return kept.Count == 0 ? Outcome.Done() : Outcome.Done() with { Descriptors = kept };
    }

    /// <summary>The next server cannot have it: this one goes on.</summary>
    private async Task<Outcome> GoBackAsync(string what, int error, TimeSpan timeout, bool ending, CancellationToken cut)
    {
        try
        {
            await OpenChainAsync(LockTimeoutWithin(timeout), cut);
        }
        catch (Exception failure)
        {
            StaySuspended();
            if (!ending)
                ForgetLog();
            var refusal = Refusals.From(failure, what);
            return Outcome.Refused(OutcomeKind.Failed, what, $"{Errno.Text(error)}, and the image could not be opened again: {refusal.Why}",
                "it is suspended now: fix that and resume it");
        }

        _served.Set(_disk);
        GoOn();
        return Outcome.Refused(OutcomeKind.Failed, what, Errno.Text(error));
    }
}
