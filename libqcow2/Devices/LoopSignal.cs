using System;
using System.Threading;
using System.Threading.Tasks;

namespace Qcow2Blk.Devices;

/// <summary>
/// Something that happens once on a loop, for code that waits on no loop. The loop sets an event and goes on: waking the thread
/// pool may mean to start a thread and wait for it, and a loop of a block device must not need that. The pool's own waiting
/// thread does it.
/// </summary>
internal sealed class LoopSignal : IDisposable
{
    private readonly ManualResetEvent _happened = new(initialState: false);
    private readonly TaskCompletionSource _seen = new();
    private readonly RegisteredWaitHandle _waiting;

    public LoopSignal() => _waiting = ThreadPool.RegisterWaitForSingleObject(
        _happened, (_, _) => _seen.TrySetResult(), null, Timeout.Infinite, executeOnlyOnce: true);

    /// <summary>Completes once it has happened, never on a loop.</summary>
    public Task Seen => _seen.Task;

    /// <summary>It has happened. From any thread, also when nobody waits any more.</summary>
    public void Set() => _happened.Set();

    /// <summary>Nobody waits any more. The event stays valid: the loop may set it later.</summary>
    public void Dispose() => _waiting.Unregister(null);
}
