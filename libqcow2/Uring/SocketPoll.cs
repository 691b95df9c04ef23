using System;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Uring;

/// <summary>
/// Tells, as often as it is so, that a descriptor of somebody else is ready. That one may close it at any time after
/// <see cref="Stop"/>; the kernel holds the open file until the poll has ended, which is soon.
/// </summary>
internal sealed class SocketPoll : IRingOperation
{
    private readonly EventLoop _loop;
    private readonly Action<SocketPoll, int> _ready;
    private readonly Action<SocketPoll> _stopped;
    private int _index;
    private short _wanted;
    private short _armed;
    private bool _isArmed;

    /// <param name="loop">the loop that it belongs to</param>
    /// <param name="ready">told which events there are (POLL*); may stop this</param>
    /// <param name="stopped">told that nothing comes any more, so that <see cref="Watch"/> may be given another descriptor</param>
    public SocketPoll(EventLoop loop, Action<SocketPoll, int> ready, Action<SocketPoll> stopped)
    {
        ArgumentNullException.ThrowIfNull(loop);
        _loop = loop;
        _ready = ready;
        _stopped = stopped;
        _index = loop.Register(this);
    }

    public int Descriptor { get; private set; } = -1;

    /// <summary>Waits for events from now on, in place of others that it waited for.</summary>
    /// <param name="descriptor">the same as before, unless this has stopped</param>
    /// <param name="events">POLL*, at least one</param>
    public void Watch(int descriptor, short events)
    {
        Descriptor = descriptor;
        _wanted = events;
        if (!_isArmed)
            Arm();
        else if (_armed != events)
            Cancel();
    }

    /// <summary>Stops waiting; what is told later is that it has.</summary>
    public void Stop()
    {
        _wanted = 0;
        if (_isArmed)
            Cancel();
        else
            _loop.Post(TellStopped);
    }

    public void Completed(int result, uint flags)
    {
        _isArmed = false;
        if (_wanted == 0)
        {
            TellStopped();
            return;
        }

        // Cancelled because other events are wanted now, or for a reason that passes; any other error is the descriptor's.
        if (result is not (-Errno.ECANCELED or -Errno.EINTR or -Errno.EAGAIN))
            _ready(this, result < 0 ? PollError : result);
        if (_wanted != 0 && !_isArmed)
            Arm();
    }

    /// <summary>Gives the number back. Only once it has stopped.</summary>
    public void Release()
    {
        if (_index >= 0)
            _loop.Unregister(_index);
        _index = -1;
    }

    private void TellStopped()
    {
        Descriptor = -1;
        _stopped(this);
    }

    private unsafe void Arm()
    {
        _isArmed = true;
        _armed = _wanted;
        var entry = _loop.Ring.Next();
        entry->opcode = IoUring.IORING_OP_POLL_ADD;
        entry->fd = Descriptor;
        entry->rw_flags = (uint)(ushort)_wanted;
        entry->user_data = (ulong)_index;
    }

    private unsafe void Cancel()
    {
        var entry = _loop.Ring.Next();
        entry->opcode = IoUring.IORING_OP_ASYNC_CANCEL;
        entry->fd = -1;
        entry->addr = (ulong)_index;
        entry->user_data = ulong.MaxValue;
    }

    private const int PollError = 8; // POLLERR
}
