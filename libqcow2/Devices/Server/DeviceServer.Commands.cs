using System;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Server;

/// <summary>What control connections and signals ask of a device's server.</summary>
public sealed partial class DeviceServer
{
    /// <summary>How soon a lazy detach notices that the last user has gone.</summary>
    private static readonly TimeSpan LazyPoll = TimeSpan.FromMilliseconds(500);

    private readonly Lock _detaching = new();
    private bool _detached;
    private bool _lazy;

    /// <summary>Whether the device was left to the next server.</summary>
    public bool HandedOver { get; private set; }

    /// <summary>Whether it was left to somebody who was gone when that was done.</summary>
    public bool HandOverUnheard { get; private set; }

    private Outcome Execute(ControlRequest request) => request.Verb switch
    {
        ControlVerb.Suspend => Suspend(request.Timeout),
        ControlVerb.Resume => Resume(request.AllowShrink, request.Timeout, request.LockTimeout),
        ControlVerb.Detach when request.Lazy => DetachLazily(request.Timeout),
        ControlVerb.Detach => Detach(request.Force, request.Timeout),
        ControlVerb.HandOver => HandOverAsAsked(request.Timeout),
        _ => Outcome.Done(),
    };

    /// <summary>Ends the device. After success <see cref="WaitForEnd"/> returns.</summary>
    public Outcome Detach(bool force, TimeSpan timeout)
    {
        lock (_detaching)
        {
            if (_detached)
                return Outcome.Done($"{Record.Name} is already detached");
            if (HandedOver)
                return Outcome.Refused(OutcomeKind.Busy, $"cannot detach {Record.Name}", "another server is taking it over", "try again");
            Outcome result = _device.Detach(force, timeout);
            _detached = result.Succeeded;
            if (_detached)
                _ended.Set();
            else
                NoteSuspension(); // A suspended device is resumed to be detached.
            return result;
        }
    }

    /// <summary>Leaves the block device to the next server. After success <see cref="WaitForEnd"/> returns.</summary>
    public Outcome HandOver(TimeSpan timeout) => HandOver(timeout, ending: true);

    private Outcome HandOver(TimeSpan timeout, bool ending)
    {
        lock (_detaching)
        {
            if (_detached || HandedOver)
                return Outcome.Refused(OutcomeKind.Busy, $"cannot hand {Record.Name} over", "it is ending already");
            Outcome result = _device.HandOver(timeout, ending);
            if (!result.Succeeded)
                return result;
            HandedOver = true;
            Record = Record with { HandedOver = true };
            Publish();
            _ended.Set();
            return result;
        }
    }

    /// <summary>
    /// Detaches if no command did: as asked, or by force if that does not work within its time. But a signal takes no disk
    /// from under a file system: a block device that is in use is left to the next server, and its requests wait. If no
    /// server can find it, they would wait for ever: then it goes.
    /// </summary>
    /// <returns>how it went; anything but done means that data may not have reached the disk, or that the device is still there</returns>
    public Outcome Finish()
    {
        if (HandedOver)
            return Outcome.Done();
        Outcome result = Detach(force: false, SignalTimeout);
        if (result.Succeeded)
            return result;
        _log.Error(OutcomeException.Compose(result.What ?? "cannot detach", result.Why ?? "unknown", result.Hint));
        if (result.Kind == OutcomeKind.Busy && Record.DevicePath is not null && _claim is not null)
        {
            if (!HandOver(SignalTimeout).Succeeded)
                LeaveAsKilled();
            return Outcome.Refused(OutcomeKind.Busy, result.What!, result.Why!,
                $"its requests wait: \"qcow2blk attach --recover {Record.Name}\" goes on, \"qcow2blk detach --force {Record.Name}\" ends it");
        }
        if (Detach(force: true, ForcedTimeout).Note is { } lost)
            _log.Error($"detached {Record.Name}: {lost}");
        return result;
    }

    /// <summary>Ends without another step, as if killed: the next server takes the device over, and replays its log.</summary>
    private void LeaveAsKilled()
    {
        lock (_detaching)
        {
            _device.LeaveAsIs();
            HandedOver = true;
            Record = Record with { HandedOver = true };
            Publish();
            _ended.Set();
        }
    }

    private Outcome Suspend(TimeSpan timeout)
    {
        Outcome result = _device.Suspend(timeout);
        NoteSuspension();
        return result;
    }

    private Outcome Resume(bool allowShrink, TimeSpan timeout, TimeSpan? lockTimeout)
    {
        Outcome result = _device.Resume(allowShrink, timeout, lockTimeout);
        NoteSuspension();
        return result;
    }

    /// <summary>Who asked is told if the image was closed and could not be opened again: they may be mending it from now on.</summary>
    private Outcome HandOverAsAsked(TimeSpan timeout)
    {
        Outcome result = HandOver(timeout, ending: false);
        NoteSuspension();
        return result;
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
        lock (_detaching)
        {
            bool suspended = _device.State == DeviceState.Suspended;
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

    private Outcome DetachLazily(TimeSpan timeout)
    {
        lock (_detaching)
        {
            if (_device.FindUser() is not { } user)
                return Detach(force: false, timeout);
            if (!_lazy)
                new Thread(() => DetachWhenUnused(timeout), 256 << 10) { IsBackground = true, Name = "lazy-detach" }.Start();
            _lazy = true;
            _device.History = _device.History with { DetachWaitsFor = user };
            return Outcome.Done($"{Record.DevicePath} is {user}: detaches when that has ended");
        }
    }

    private void DetachWhenUnused(TimeSpan timeout)
    {
        string? said = null;
        while (!_ended.Wait(LazyPoll))
        {
            try
            {
                string? user = _device.FindUser();
                _device.History = _device.History with { DetachWaitsFor = user };
                if (user is not null)
                    continue;
                Outcome result = Detach(force: false, timeout);
                if (result.Succeeded)
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
}
