using System;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// What one connection holds of its server's memory: first its own bytes, which nobody can take from it, so that small requests
/// go on whatever others do; then some of the common. Belongs to the connection's loop, but for what says otherwise.
/// </summary>
internal sealed class MemoryShare
{
    /// <summary>Bytes that a connection always has: what common clients send in one request, or 256 small ones.</summary>
    public const int OwnBytes = 1 << 20;

    // Taken and kept in pieces of this size, so that many small requests do not meet the other loops each time.
    private const int Step = 256 << 10;

    private readonly RequestMemory? _common;
    private readonly LoopScheduler _loop;
    private readonly Action _granted;
    private readonly Action _ready;
    private long _lent;
    private bool _closed;

    /// <param name="common">what to take more from; null if there is no limit</param>
    /// <param name="loop">the connection's loop</param>
    /// <param name="ready">called on the loop when what <see cref="TryUse"/> refused can be had</param>
    public MemoryShare(RequestMemory? common, LoopScheduler loop, Action ready)
    {
        _common = common;
        _loop = loop;
        _ready = ready;
        _granted = TakeGranted;
    }

    /// <summary>Bytes in use.</summary>
    public long Used { get; private set; }

    /// <summary>Whether it waits in line.</summary>
    public bool IsWaiting { get; private set; }

    /// <summary>Whether others wait for what it has of the common memory.</summary>
    public bool IsPressed => _lent > 0 && _common!.IsWanted;

    /// <summary>The next in line; under the lock of the line.</summary>
    internal MemoryShare? Next { get; set; }

    /// <summary>What it waits for; it does not change until it has come.</summary>
    internal long Wanted { get; private set; }

    /// <summary>Begins to use bytes, or to wait for them.</summary>
    public bool TryUse(int bytes)
    {
        var missing = Used + bytes - OwnBytes - _lent;
        if (_common is not null && missing > 0)
        {
            if (IsWaiting)
                return false;
            var wanted = (missing + Step - 1) & -Step;
            if (!_common.TryTake(this, wanted))
                return false;
            _lent += wanted;
        }
        else if (IsWaiting && _common!.Withdraw(this))
        {
            // Enough came back of its own meanwhile.
            IsWaiting = false;
        }

        Used += bytes;
        return true;
    }

    /// <summary>Bytes are not used any more.</summary>
    public void Return(int bytes)
    {
        Used -= bytes;
        GiveExcess();
    }

    /// <summary>The connection ends: it waits for nothing any more. What it uses it still returns.</summary>
    public void Close()
    {
        _closed = true;
        if (IsWaiting && _common!.Withdraw(this))
            IsWaiting = false;
    }

    /// <summary>It stands in line now. Under the lock of the line.</summary>
    internal void Wait(long wanted)
    {
        Wanted = wanted;
        IsWaiting = true;
    }

    /// <summary>What it waited for is its own. Any thread.</summary>
    internal void Granted() => _loop.PostFromAnyThread(_granted);

    private void TakeGranted()
    {
        IsWaiting = false;
        _lent += Wanted;
        if (!_closed)
            _ready();
        GiveExcess();
    }

    private void GiveExcess()
    {
        var excess = _lent - Math.Max(0, Used - OwnBytes);
        if (excess <= 0 || (Used > OwnBytes && excess <= 2 * Step && !_common!.IsWanted))
            return;
        _lent -= excess;
        _common!.Give(excess);
    }
}
