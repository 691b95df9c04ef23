using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;
using msghdr = Tmds.Linux.msghdr;
using pollfd = Tmds.Linux.pollfd;

namespace Qcow2Blk.Uring;

/// <summary>
/// Does what the kernel does with a ring, where the kernel will not: file operations on threads, sockets with
/// poll(2). It serves the few opcodes this program uses, and is meant to be correct, not fast.
/// </summary>
/// <remarks>
/// Invariants: only the loop's thread calls it; workers touch nothing but their own job and the queue of finished
/// ones; memory that an entry points to stays valid until its completion, as with the real ring.
/// </remarks>
internal sealed unsafe class RingEmulation : IDisposable
{
    public const int Workers = 8;

    private readonly OffloadPool? _workers;
    private readonly ConcurrentQueue<(ulong UserData, int Result)> _finished = new();
    private readonly List<io_uring_sqe> _waiting = [];
    private readonly io_uring_cqe* _completions;
    private readonly uint* _head;
    private readonly uint* _tail;
    private readonly uint _mask;
    private readonly int _eventFd;
    private pollfd[] _descriptors = new pollfd[16];

    /// <param name="completions">the queue of completions</param>
    /// <param name="mask">its entries less one</param>
    /// <param name="head">what was taken from it</param>
    /// <param name="tail">what was put into it</param>
    /// <param name="workers">threads at most; 0 for none: file operations are done when they are submitted</param>
    public RingEmulation(io_uring_cqe* completions, uint mask, uint* head, uint* tail, int workers)
    {
        _workers = workers == 0 ? null : new OffloadPool(workers);
        _completions = completions;
        _mask = mask;
        _head = head;
        _tail = tail;
        _eventFd = Files.EventFd();
        if (_eventFd < 0)
            throw new IOException($"cannot make an eventfd: {Errno.Text(_eventFd)}", -_eventFd);
    }

    private uint Room => _mask + 1 - (*_tail - Volatile.Read(ref *_head));

    /// <summary>Takes one submission.</summary>
    public void Submit(in io_uring_sqe entry)
    {
        if (entry.opcode is IoUring.IORING_OP_READ or IoUring.IORING_OP_WRITE or IoUring.IORING_OP_FSYNC or IoUring.IORING_OP_FALLOCATE)
            StartJob(entry);
        else if (entry.opcode == IoUring.IORING_OP_ASYNC_CANCEL)
            Cancel(entry.addr);
        else
            _waiting.Add(entry);
    }

    /// <summary>Completes what can be completed; waits for something, if asked to.</summary>
    /// <returns>0, or a negative errno</returns>
    public int Reap(bool wait, long timeoutNanoseconds)
    {
        var completed = TrySockets() | TakeFinished();
        if (completed)
            return 0;
        var milliseconds = !wait ? 0 : timeoutNanoseconds < 0 ? -1
            : (int)Math.Min(int.MaxValue, (timeoutNanoseconds + 999_999) / 1_000_000);
        var result = WaitForEvents(milliseconds);
        if (result is < 0 and not -Errno.EINTR)
            return result;
        ulong count;
        Files.ReadStream(_eventFd, &count, sizeof(ulong));
        TrySockets();
        TakeFinished();
        return 0;
    }

    public void Dispose()
    {
        _workers?.Dispose();
        Files.Close(_eventFd);
    }

    /// <summary>Ends what waits for a socket; its completion comes with the next that there is room for.</summary>
    private void Cancel(ulong userData)
    {
        if (_waiting.RemoveAll(entry => entry.user_data == userData) > 0)
            _finished.Enqueue((userData, -Errno.ECANCELED));
    }

    private void StartJob(io_uring_sqe entry)
    {
        if (_workers is null)
        {
            _finished.Enqueue((entry.user_data, Execute(entry)));
            return;
        }

        _workers.Enqueue(() =>
        {
            var result = Execute(entry);
            _finished.Enqueue((entry.user_data, result));
            ulong one = 1;
            Files.WriteStream(_eventFd, &one, sizeof(ulong));
        });
    }

    private static int Execute(in io_uring_sqe entry) => entry.opcode switch
    {
        IoUring.IORING_OP_READ => (int)Files.Read(entry.fd, (void*)entry.addr, entry.len, (long)entry.off),
        IoUring.IORING_OP_WRITE => (int)Files.Write(entry.fd, (void*)entry.addr, entry.len, (long)entry.off),
        IoUring.IORING_OP_FSYNC => Files.SyncData(entry.fd),
        _ => Files.Allocate(entry.fd, (int)entry.len, (long)entry.off, (long)entry.addr),
    };

    private bool TakeFinished()
    {
        var any = false;
        while (Room > 0 && _finished.TryDequeue(out var finished))
        {
            Complete(finished.UserData, finished.Result);
            any = true;
        }

        return any;
    }

    private bool TrySockets()
    {
        var any = false;
        for (var i = 0; i < _waiting.Count && Room > 0; i++)
        {
            var entry = _waiting[i];
            var result = Try(entry);
            if (result is -Errno.EAGAIN or -Errno.EINTR)
                continue;
            _waiting.RemoveAt(i--);
            Complete(entry.user_data, result);
            any = true;
        }

        return any;
    }

    private static int Try(in io_uring_sqe entry)
    {
        switch (entry.opcode)
        {
            case IoUring.IORING_OP_RECV:
                return (int)Poll.Receive(entry.fd, (void*)entry.addr, entry.len, MSG_DONTWAIT);
            case IoUring.IORING_OP_RECVMSG:
                return (int)Poll.ReceiveMessage(entry.fd, (msghdr*)entry.addr, MSG_DONTWAIT);
            case IoUring.IORING_OP_SENDMSG:
                return (int)Poll.SendMessage(entry.fd, (msghdr*)entry.addr, (int)entry.rw_flags | MSG_DONTWAIT);
            case IoUring.IORING_OP_ACCEPT:
                return Ready(entry.fd, POLLIN) != 0 ? Poll.Accept(entry.fd, (int)entry.rw_flags) : -Errno.EAGAIN;
            case IoUring.IORING_OP_POLL_ADD:
                return Ready(entry.fd, (short)entry.rw_flags) is var ready and not 0 ? ready : -Errno.EAGAIN;
            default:
                return -Errno.EINVAL;
        }
    }

    /// <returns>which events there are; 0 for none</returns>
    private static int Ready(int fd, short events)
    {
        pollfd descriptor = new() { fd = fd, events = events };
        return Poll.Wait(&descriptor, 1, 0) > 0 ? descriptor.revents : 0;
    }

    /// <summary>What a waiting entry waits for.</summary>
    private static short EventsOf(in io_uring_sqe entry) => entry.opcode switch
    {
        IoUring.IORING_OP_SENDMSG => POLLOUT,
        IoUring.IORING_OP_POLL_ADD => (short)entry.rw_flags,
        _ => POLLIN,
    };

    private int WaitForEvents(int milliseconds)
    {
        if (_descriptors.Length < _waiting.Count + 1)
            _descriptors = new pollfd[_waiting.Count * 2];
        _descriptors[0] = new pollfd { fd = _eventFd, events = POLLIN };
        for (var i = 0; i < _waiting.Count; i++)
            _descriptors[i + 1] = new pollfd { fd = _waiting[i].fd, events = EventsOf(_waiting[i]) };

        fixed (pollfd* descriptors = _descriptors)
            return Poll.Wait(descriptors, _waiting.Count + 1, milliseconds);
    }

    private void Complete(ulong userData, int result)
    {
        var tail = *_tail;
        _completions[tail & _mask] = new io_uring_cqe { user_data = userData, res = result };
        Volatile.Write(ref *_tail, tail + 1);
    }
}
