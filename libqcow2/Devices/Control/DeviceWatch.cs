using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Qcow2Blk.Devices.Control;

/// <summary>The events of a device on their way to one reader, in order.</summary>
/// <param name="end">called once the reader has gone</param>
internal sealed class DeviceWatch(Action<DeviceWatch> end) : IDisposable
{
    /// <summary>
    /// What a reader may leave unread before events that a later one of the same kind supersedes are left out: more than there are
    /// kinds, so one always is.
    /// </summary>
    public const int MaxPending = 64;

    private readonly Lock _lock = new();
    private readonly List<WatchEvent> _pending = [];
    private TaskCompletionSource? _arrived;
    private bool _closed;

    /// <summary>Adds an event; the oldest that is superseded gives way to it if the reader is slow.</summary>
    public void Add(WatchEvent what)
    {
        lock (_lock)
        {
            if (_closed)
                return;
            _pending.Add(what);
            if (_pending.Count > MaxPending)
                _pending.RemoveAt(FirstSuperseded());
            _arrived?.TrySetResult();
        }
    }

    /// <summary>Nothing comes any more; what is pending can still be taken.</summary>
    public void Close()
    {
        lock (_lock)
        {
            _closed = true;
            _arrived?.TrySetResult();
        }
    }

    /// <summary>Waits for events, and takes all that have come. One reader at a time.</summary>
    /// <returns>empty if none will come any more</returns>
    public async Task<IReadOnlyList<WatchEvent>> TakeAsync()
    {
        while (true)
        {
            Task arrived;
            lock (_lock)
            {
                if (_pending.Count > 0)
                {
                    WatchEvent[] taken = [.. _pending];
                    _pending.Clear();
                    return taken;
                }

                if (_closed)
                    return [];
                _arrived = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                arrived = _arrived.Task;
            }

            await arrived;
        }
    }

    /// <summary>The reader has gone.</summary>
    public void Dispose()
    {
        Close();
        end(this);
    }

    private int FirstSuperseded()
    {
        for (var i = 0; i < _pending.Count; i++)
        {
            var kind = _pending[i].Kind;
            if (_pending.FindIndex(i + 1, later => later.Kind == kind) >= 0)
                return i;
        }

        return 0;
    }
}
