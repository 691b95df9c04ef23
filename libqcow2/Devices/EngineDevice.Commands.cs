using System;
using System.Diagnostics;
using System.Threading;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices;

/// <summary>Suspend, resume and detach.</summary>
public sealed partial class EngineDevice
{
    // A flush during suspend or detach that takes longer than this is a dead disk.
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromMinutes(5);

    public DeviceResult Suspend(TimeSpan timeout)
    {
        lock (_command)
        {
            var what = $"cannot suspend {Name}";
            switch ((DeviceState)_state)
            {
                case DeviceState.Suspended:
                    return DeviceResult.Done($"{Name} is already suspended");
                case DeviceState.Detaching:
                    return DeviceResult.Refused(ExitStatus.Failed, what, "it is being detached");
            }

            _state = (int)DeviceState.Suspending;
            if (!HoldRequests(timeout))
            {
                GoOn();
                return DeviceResult.Refused(ExitStatus.Failed, what, $"requests did not end within {timeout.TotalSeconds:0.#} s", "try a longer --timeout");
            }

            var error = OnHome(_disk!.FlushAsync, CloseTimeout);
            if (error < 0 && _disk is not Image.Qcow2Image { WriteErrorReason: not null })
            {
                GoOn();
                return DeviceResult.Refused(ExitStatus.Failed, what, $"flush failed: {Errno.Text(error)}");
            }

            return CloseForSuspend(what);
        }
    }

    public DeviceResult Resume(bool allowShrink, TimeSpan timeout)
    {
        lock (_command)
        {
            if ((DeviceState)_state != DeviceState.Suspended)
                return DeviceResult.Done($"{Name} is not suspended");
            var what = $"cannot resume {Name}";
            const string hint = "it stays suspended and its requests are kept: mend it and resume again";
            var before = _served.Size;
            try
            {
                OpenDiskWithin(timeout);
            }
            catch (Exception error)
            {
                var refusal = Refusals.From(error, what);
                return DeviceResult.Refused(refusal.Status, what, refusal.Why, refusal.Hint ?? hint);
            }

            var size = _disk!.Size;
            if (size < before && !allowShrink)
            {
                OnHome(_disk.CloseAsync, CloseTimeout);
                _disk = null;
                return DeviceResult.Refused(ExitStatus.Failed, what, $"the disk was {before} bytes and is now {size}", "use --allow-shrink if that is meant");
            }

            _served.Set(_disk);
            GoOn();
            return DeviceResult.Done(size == before ? null : $"the disk has {size} bytes now (was {before}); NBD clients see it when they connect again");
        }
    }

    public DeviceResult Detach(bool force, TimeSpan timeout)
    {
        lock (_command)
        {
            var what = $"cannot detach {Name}";
            var suspended = (DeviceState)_state == DeviceState.Suspended;
            if (!suspended && !HoldRequests(timeout) && !force)
            {
                GoOn();
                return DeviceResult.Refused(ExitStatus.Failed, what, $"requests did not end within {timeout.TotalSeconds:0.#} s", "try a longer --timeout, or --force");
            }

            // Before the point of no return: what cannot be written must not be dropped without being asked to.
            var error = suspended || _disk is null ? 0 : OnHome(_disk.FlushAsync, CloseTimeout);
            if (error < 0 && !force)
            {
                GoOn();
                return DeviceResult.Refused(ExitStatus.Failed, what, $"the last flush failed: {Errno.Text(error)}", "--force detaches all the same and loses what was written since the flush before it");
            }

            _state = (int)DeviceState.Detaching;
            if (!suspended && _disk is not null && CloseDisk() is var closing and < 0)
                error = closing;
            _server.Close();
            _listener?.Dispose();
            _listener = null;
            return error == 0
                ? DeviceResult.Done()
                : DeviceResult.Done($"the last flush failed ({Errno.Text(error)}): what was written since the flush before it may be lost");
        }
    }

    private DeviceResult CloseForSuspend(string what)
    {
        var error = CloseDisk();
        if (error == 0)
        {
            _state = (int)DeviceState.Suspended;
            return DeviceResult.Done();
        }

        try
        {
            OpenDisk();
            GoOn();
        }
        catch (Exception failure)
        {
            // Neither closed cleanly nor to be opened again: held requests wait for a resume that works.
            _state = (int)DeviceState.Suspended;
            _log.Error(Refusals.From(failure, $"cannot reopen {ImagePath}").Message);
        }

        return DeviceResult.Refused(ExitStatus.Failed, what, $"closing the image failed: {Errno.Text(error)}");
    }

    private int CloseDisk()
    {
        var error = OnHome(_disk!.CloseAsync, CloseTimeout);
        _disk = null;
        return error;
    }

    /// <summary>Closes the gate and waits until no request is in progress.</summary>
    private bool HoldRequests(TimeSpan timeout)
    {
        var drained = new ManualResetEventSlim();
        _server.Hold(drained.Set);
        return drained.Wait(timeout);
    }

    private void GoOn()
    {
        _state = (int)DeviceState.Running;
        _server.Release();
    }

    /// <summary>Opens the image again; a lock that somebody still holds may be let go within the time.</summary>
    private void OpenDiskWithin(TimeSpan timeout)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                var (disk, chain) = OnHome(() => ImageChain.OpenAsync(_options, _log), Timeout.InfiniteTimeSpan);
                (_disk, _chain) = (disk, chain);
                return;
            }
            catch (Storage.ImageLockedException) when (Stopwatch.GetElapsedTime(started) < timeout && timeout < CloseTimeout)
            {
                Thread.Sleep(50);
            }
        }
    }
}
