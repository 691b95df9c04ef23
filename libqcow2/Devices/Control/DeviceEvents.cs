using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Control;

/// <summary>A device as those who watch it see it.</summary>
/// <param name="State">what it does</param>
/// <param name="Waiting">how many requests wait for space</param>
/// <param name="WriteError">why the image takes no more writes; null if it does</param>
internal readonly record struct DeviceCondition(DeviceState State, int Waiting, string? WriteError);

/// <summary>
/// Tells what happens to a device to whoever watches it. Nobody tells it what has changed: it looks at the device, and compares
/// with what it saw last. While nobody watches it does nothing.
/// </summary>
/// <remarks>
/// The loops of a device only set an event, as with <see cref="LoopSignal"/>: they take no lock that a thread of the pool may
/// hold while it waits for memory.
/// </remarks>
/// <param name="look">how the device is now; any thread</param>
internal sealed class DeviceEvents(Func<DeviceCondition> look) : IDisposable
{
    /// <summary>Errors that are not told yet; those after them are only in the log.</summary>
    private const int MaxErrors = 64;

    private readonly Lock _lock = new();
    private readonly List<DeviceWatch> _watches = [];
    private readonly ConcurrentQueue<string> _errors = new();
    private readonly AutoResetEvent _woken = new(initialState: false);
    private RegisteredWaitHandle? _waiting;
    private DeviceCondition _told;
    private volatile bool _isWatched;
    private bool _closed;

    /// <summary>Begins to watch: the first events say how the device is.</summary>
    public DeviceWatch Watch()
    {
        var watch = new DeviceWatch(Remove);
        lock (_lock)
        {
            if (_closed)
            {
                watch.Close();
                return watch;
            }

            if (_watches.Count == 0)
                Begin();
            else
                TellChanges();
            foreach (var what in Present(_told))
                watch.Add(what);
            _watches.Add(watch);
        }

        return watch;
    }

    /// <summary>The state has changed. Not from a loop of the device.</summary>
    public void Changed()
    {
        // Or else the change and the first watch miss each other.
        Interlocked.MemoryBarrier();
        if (!_isWatched)
            return;
        lock (_lock)
            TellChanges();
    }

    /// <summary>Something may have changed. Any thread, loops too.</summary>
    public void Wake()
    {
        Interlocked.MemoryBarrier();
        if (_isWatched)
            _woken.Set();
    }

    /// <summary>Something failed, and no request was told of it. Any thread, loops too.</summary>
    public void Failed(string message)
    {
        if (_isWatched && _errors.Count < MaxErrors)
            _errors.Enqueue(message);
        Wake();
    }

    /// <summary>The device was detached, and nothing of it is left.</summary>
    public void End()
    {
        lock (_lock)
        {
            TellChanges();
            Tell(new WatchEvent(WatchKind.Ended, _told.State, 0, ""));
            CloseAll();
        }
    }

    /// <summary>
    /// The server ends, the device may not: what was not told yet is told, and the watches end. The event stays valid: a loop may
    /// set it later.
    /// </summary>
    public void Dispose()
    {
        lock (_lock)
        {
            TellChanges();
            CloseAll();
        }
    }

    private void Begin()
    {
        _errors.Clear();
        _isWatched = true;
        Interlocked.MemoryBarrier();
        _told = look();
        _waiting = ThreadPool.RegisterWaitForSingleObject(
            _woken, (_, _) => Changed(), null, Timeout.Infinite, executeOnlyOnce: false);
    }

    private void Remove(DeviceWatch watch)
    {
        lock (_lock)
        {
            if (_watches.Remove(watch) && _watches.Count == 0)
                Rest();
        }
    }

    private void CloseAll()
    {
        _closed = true;
        foreach (var watch in _watches)
            watch.Close();
        if (_watches.Count > 0)
            Rest();
        _watches.Clear();
    }

    private void Rest()
    {
        _isWatched = false;
        _waiting?.Unregister(null);
        _waiting = null;
    }

    /// <summary>With the lock.</summary>
    private void TellChanges()
    {
        if (_watches.Count == 0)
            return;
        var now = look();
        while (_errors.TryDequeue(out var message))
        {
            // Why the image takes no more writes is told as that.
            if (message != now.WriteError)
                Tell(new WatchEvent(WatchKind.Error, now.State, 0, Short(message)));
        }

        if (now.WriteError is { } reason && reason != _told.WriteError)
            Tell(new WatchEvent(WatchKind.Corrupt, now.State, 0, Short(reason)));
        if (now.State != _told.State)
            Tell(new WatchEvent(WatchKind.State, now.State, 0, ""));
        if (now.Waiting != _told.Waiting)
            Tell(new WatchEvent(WatchKind.NoSpace, now.State, now.Waiting, ""));
        _told = now;
    }

    private static IEnumerable<WatchEvent> Present(DeviceCondition now)
    {
        yield return new WatchEvent(WatchKind.State, now.State, 0, "");
        if (now.WriteError is { } reason)
            yield return new WatchEvent(WatchKind.Corrupt, now.State, 0, Short(reason));
        if (now.Waiting > 0)
            yield return new WatchEvent(WatchKind.NoSpace, now.State, now.Waiting, "");
    }

    private void Tell(WatchEvent what)
    {
        foreach (var watch in _watches)
            watch.Add(what);
    }

    private static string Short(string message)
    {
        var line = Printable.Escape(message);
        return line.Length <= WatchEvent.MaxMessageLength ? line : line[..WatchEvent.MaxMessageLength] + "...";
    }
}
