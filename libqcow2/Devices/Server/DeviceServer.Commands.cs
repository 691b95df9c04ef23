using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Server;

/// <summary>What control connections and signals ask of a device's server.</summary>
internal sealed partial class DeviceServer
{
    /// <summary>How soon a lazy detach notices that the last user has gone.</summary>
    private static readonly TimeSpan s_lazyPoll = TimeSpan.FromMilliseconds(500);

    private readonly CommandTurns _turns = new();
    private readonly Lock _records = new();
    private bool _detached;
    private bool _lazy;

    /// <summary>Whether somebody asked for the end. A device that was attached to be mounted is not ending all its life.</summary>
    private bool _lazyAsked;

    /// <summary>Whether the device was left to the next server.</summary>
    public bool HandedOver { get; private set; }

    /// <summary>Whether it was left to somebody who was gone when that was done.</summary>
    public bool HandOverUnheard { get; private set; }

    private Task<Outcome> ExecuteAsync(ControlRequest request) => request.Verb switch
    {
        ControlVerb.Suspend => SuspendAsync(request.Timeout),
        ControlVerb.Resume => ResumeAsync(request.AllowShrink, request.Timeout, request.LockTimeout),
        ControlVerb.Detach when request.Lazy => DetachLazilyAsync(request.Timeout),
        ControlVerb.Detach => DetachAsync(request.Force, request.Timeout),
        ControlVerb.HandOver => HandOverAsync(request.Timeout, ending: false),
        ControlVerb.Set => SetAsync(request.Options, request.Timeout),
        ControlVerb.Edit => EditAsync(request, request.Timeout),
        ControlVerb.Release => Task.FromResult(
            Outcome.Refused(OutcomeKind.Invalid, "cannot release requests", "this connection does not hold any")),
        _ => Task.FromResult(Outcome.Done()), // Status and greetings wait behind nothing.
    };

    /// <summary>Ends the device. After success <see cref="WaitForEnd"/> returns. By force it waits behind no other command.</summary>
    private Task<Outcome> DetachAsync(bool force, TimeSpan timeout)
    {
        var what = $"cannot detach {Record.Name}";
        return force
            ? _turns.RunFirstAsync(what, timeout, () => DetachNowAsync(force, timeout, CancellationToken.None))
            : _turns.RunAsync(what, timeout, cut => DetachNowAsync(force, timeout, cut));
    }

    private async Task<Outcome> DetachNowAsync(bool force, TimeSpan timeout, CancellationToken cut)
    {
        if (_detached)
            return Outcome.Done($"{Record.Name} is already detached");
        if (HandedOver)
            return Outcome.Refused(OutcomeKind.Busy, $"cannot detach {Record.Name}", "another server is taking it over", "try again");
        var result = await _device.DetachAsync(force, timeout, cut);
        _detached = result.Succeeded;
        if (_detached)
            RequestEnd();
        else
            NoteSuspension(); // A suspended device is resumed to be detached.
        return result;
    }

    /// <summary>Leaves the block device to the next server. After success <see cref="WaitForEnd"/> returns.</summary>
    public Outcome HandOver(TimeSpan timeout) => HandOverAsync(timeout, ending: true).GetAwaiter().GetResult();

    /// <summary>
    /// Who asked, and does not end with this process, is told if the image was closed and could not be opened again: they may be
    /// mending it from now on.
    /// </summary>
    private Task<Outcome> HandOverAsync(TimeSpan timeout, bool ending)
    {
        var what = $"cannot hand {Record.Name} over";
        return _turns.RunAsync(what, timeout, async cut =>
        {
            if (_detached || HandedOver)
                return Outcome.Refused(OutcomeKind.Busy, what, "it is already ending");
            var result = await _device.HandOverAsync(timeout, ending, cut);
            if (result.Succeeded)
                LeaveToNext();
            else if (!ending)
                NoteSuspension();
            return result;
        });
    }

    private void LeaveToNext()
    {
        lock (_records)
        {
            HandedOver = true;
            Record = Record with { HandedOver = true };
            Publish();
        }

        RequestEnd();
    }

    /// <summary>
    /// Detaches if no command did: as asked, or by force if that does not work within its time. But a signal takes no disk
    /// from under a file system: a block device that is in use is left to the next server, and its requests wait. If no
    /// server can find it, they would wait for ever: then it goes. When the machine goes down, no server follows either.
    /// </summary>
    /// <remarks>Blocks: the thread that began the process has nothing else to do.</remarks>
    /// <returns>how it went; anything but done means that data may not have reached the disk, or that the device is still there</returns>
    public Outcome Finish() => FinishAsync().GetAwaiter().GetResult();

    private async Task<Outcome> FinishAsync()
    {
        if (HandedOver)
            return Outcome.Done();
        var result = await DetachAsync(force: false, SignalTimeout);
        if (result.Succeeded)
            return result;
        _log.Error(OutcomeException.Compose(result.What ?? "cannot detach", result.Why ?? "unknown", result.Hint));
        if (result.Kind == OutcomeKind.Busy && KernelNode.TryParse(Record.DevicePath) is { } node && _claim is not null)
        {
            if (MachineStops())
                return await DetachWhenUnmountedAsync(node);
            if (!(await HandOverAsync(SignalTimeout, ending: true)).Succeeded)
                LeaveAsKilled();
            return Outcome.Refused(OutcomeKind.Busy, result.What!, result.Why!,
                $"its requests are waiting: \"qcow2blk attach --recover {Record.Name}\" takes it over, \"qcow2blk detach --force"
                    + $" {Record.Name}\" ends it");
        }

        if ((await DetachAsync(force: true, ForcedTimeout)).Note is { } lost)
            _log.Error($"detached {Record.Name}: {lost}");
        return result;
    }

    /// <summary>Ends without another step, as if killed: the next server takes the device over, and replays its log.</summary>
    private void LeaveAsKilled()
    {
        _device.LeaveAsIs();
        LeaveToNext();
    }

    private Task<Outcome> SuspendAsync(TimeSpan timeout) => _turns.RunAsync($"cannot suspend {Record.Name}", timeout, async cut =>
    {
        var result = await _device.SuspendAsync(timeout, cut);
        NoteSuspension();
        return result;
    });

    private Task<Outcome> ResumeAsync(bool allowShrink, TimeSpan timeout, TimeSpan? lockTimeout) =>
        _turns.RunAsync($"cannot resume {Record.Name}", timeout, async cut =>
        {
            var result = await _device.ResumeAsync(allowShrink, timeout, lockTimeout, cut);
            NoteSuspension();
            return result;
        });

    /// <summary>An operation on the image, in its turn: suspend, resume and others wait for its end.</summary>
    private Task<Outcome> EditAsync(ControlRequest request, TimeSpan timeout)
    {
        var edit = new ImageEdit(request.Edit ?? "", request.Options ?? new Dictionary<string, string>());
        return _turns.RunAsync($"cannot edit the image of {Record.Name}", timeout, async cut =>
        {
            if (_detached || HandedOver)
                return Outcome.Refused(OutcomeKind.Busy, $"cannot edit the image of {Record.Name}", "it is already ending");
            try
            {
                return await _device.EditAsync(edit, timeout, cut);
            }
            catch (OutcomeException refusal)
            {
                return Outcome.Refused(refusal.Kind, refusal.What, refusal.Why, refusal.Hint);
            }
        });
    }

    private void NotHeard(ControlRequest request)
    {
        if (request.Verb == ControlVerb.HandOver && HandedOver)
            HandOverUnheard = true;
    }

    /// <summary>
    /// A server that dies while suspended must not be followed by one that goes on by itself. And what was resumed may be
    /// another file: qemu-img convert and mv.
    /// </summary>
    private void NoteSuspension()
    {
        lock (_records)
        {
            var suspended = _device.State == DeviceState.Suspended;
            if (_detached || HandedOver || suspended == Record.Suspended)
                return;
            Record = Record with
            {
                Suspended = suspended,
                ImageIdentity = suspended ? Record.ImageIdentity : _device.ImageIdentity,
            };
            Publish();
        }
    }

    /// <summary>What was done cannot be taken back because its record cannot be written.</summary>
    private void Publish()
    {
        try
        {
            _claim?.Publish(Record);
        }
        catch (OutcomeException error)
        {
            _log.Error(error.Message);
        }
    }

    private Task<Outcome> DetachLazilyAsync(TimeSpan timeout) => _turns.RunAsync($"cannot detach {Record.Name}", timeout, async cut =>
    {
        if (await _device.FindUserAsync() is not { } user)
            return await DetachNowAsync(force: false, timeout, cut);
        BeginLazily(timeout, isUsed: true);
        if (!Record.Options.DetachWhenUnused)
        {
            _lazyAsked = true;
            _device.History = _device.History with { DetachWaitsFor = user };
            NoteLazy();
        }

        return Outcome.Done($"{Record.DevicePath} is {user}: it will be detached when that ends");
    });

    /// <summary>Watches the users from now on, once.</summary>
    private void BeginLazily(TimeSpan timeout, bool isUsed)
    {
        if (!_lazy)
            _ = DetachWhenUnusedAsync(timeout, isUsed ? TimeSpan.Zero : s_firstUserTimeout);
        _lazy = true;
    }

    /// <summary>The next server has to know: users go while there is none.</summary>
    private void NoteLazy()
    {
        lock (_records)
        {
            if (_detached || HandedOver || Record.Options.DetachWhenUnused)
                return;
            Record = Record with { Options = Record.Options with { DetachWhenUnused = true } };
            Publish();
        }
    }

    /// <param name="timeout">how long a detach may take</param>
    /// <param name="patience">how long to wait for the first user</param>
    private async Task DetachWhenUnusedAsync(TimeSpan timeout, TimeSpan patience)
    {
        string? said = null;
        var started = Stopwatch.GetTimestamp();
        while (!await EndsWithinAsync(s_lazyPoll))
        {
            try
            {
                var user = await _device.FindUserAsync();
                if (_lazyAsked)
                    _device.History = _device.History with { DetachWaitsFor = user };
                if (user is not null)
                    patience = TimeSpan.Zero;
                if (user is not null || Stopwatch.GetElapsedTime(started) < patience)
                    continue;
                var result = await DetachAsync(force: false, timeout);
                // Somebody else's detach, which this one waited for, is not a failure.
                if (result.Succeeded || _detached)
                    return;
                _device.History = _device.History with { DetachWaitsFor = result.Why };
                if (said != result.Why)
                    _log.Warning(OutcomeException.Compose(result.What ?? "cannot detach", result.Why ?? "unknown", "trying again"));
                said = result.Why;
            }
            catch (ObjectDisposedException)
            {
                return; // The device has ended otherwise.
            }
        }
    }

    private async Task<bool> EndsWithinAsync(TimeSpan time)
    {
        await _ended.Task.WaitAsync(time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return _ended.Task.IsCompleted;
    }
}
