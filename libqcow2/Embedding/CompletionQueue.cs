using System;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using Qcow2Blk.Interop;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Embedding;

/// <summary>The end of a request, as struct qcow2blk_completion has it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal record struct Completion(nint UserData, long Result);

/// <summary>
/// Where the ends of requests wait until a program fetches them. Its size is that of all requests that may end in it, so that
/// there is always room. Any thread.
/// </summary>
/// <remarks>
/// Invariant: once somebody watches the eventfd it is readable exactly while completions wait; a queue that is closed wakes those
/// who wait in it.
/// </remarks>
internal sealed unsafe class CompletionQueue
{
    public const int MaximumDepth = 65536;

    private readonly Lock _gate = new();
    private readonly Completion[] _ring;
    private readonly int _mask;
    private readonly int _depth;
    private readonly int _eventFd;
    private int _head;
    private int _count;
    private int _inFlight;
    private int _waiters;
    private bool _isWatched;
    private bool _isSignalled;
    private bool _closed;

    /// <param name="depth">requests in flight, and completions that wait, at most</param>
    /// <exception cref="IOException">there is no descriptor for it</exception>
    public CompletionQueue(int depth)
    {
        _depth = depth;
        _ring = new Completion[System.Numerics.BitOperations.RoundUpToPowerOf2((uint)depth)];
        _mask = _ring.Length - 1;
        _eventFd = Files.EventFd();
        if (_eventFd < 0)
            throw new IOException($"cannot make an eventfd: {Errno.Text(_eventFd)}", -_eventFd);
    }

    /// <summary>Readable while completions wait, from now on.</summary>
    public int Watch()
    {
        lock (_gate)
        {
            _isWatched = true;
            SignalIfNeeded();
            return _eventFd;
        }
    }

    /// <summary>Keeps a place for the end of a request that is about to begin.</summary>
    /// <returns>0; -EAGAIN if there is none; -EINVAL if the queue is closed</returns>
    public int Reserve()
    {
        lock (_gate)
        {
            if (_closed)
                return -Errno.EINVAL;
            if (_inFlight + _count >= _depth)
                return -Errno.EAGAIN;
            _inFlight++;
            return 0;
        }
    }

    /// <summary>The request was not accepted after all.</summary>
    public void Unreserve()
    {
        lock (_gate)
            _inFlight--;
    }

    /// <summary>A request has ended.</summary>
    public void Add(nint userData, long result)
    {
        lock (_gate)
        {
            _inFlight--;
            _ring[(_head + _count++) & _mask] = new Completion(userData, result);
            SignalIfNeeded();
        }
    }

    /// <summary>Fetches what waits.</summary>
    /// <param name="completions">to be filled in</param>
    /// <param name="timeout">milliseconds to wait for the first; -1 for ever</param>
    /// <returns>how many were fetched; 0 if none came in time; -EINTR, or -ESHUTDOWN once the queue is closed</returns>
    public int Wait(Span<Completion> completions, int timeout)
    {
        var due = timeout <= 0 ? 0 : Environment.TickCount64 + timeout;
        while (true)
        {
            var taken = Take(completions, mayWait: timeout != 0);
            if (taken != 0 || timeout == 0)
                return taken;
            var left = timeout < 0 ? -1 : (int)Math.Max(0, due - Environment.TickCount64);
            pollfd descriptor = new() { fd = _eventFd, events = POLLIN };
            var ready = Poll.Wait(&descriptor, 1, left);
            EndWait();
            if (ready < 0)
                return ready;
            if (ready == 0)
                return Take(completions, mayWait: false);
        }
    }

    /// <returns>0; -EBUSY while requests that will end here are in flight; -EINVAL if it is closed already</returns>
    public int Close()
    {
        lock (_gate)
        {
            if (_closed)
                return -Errno.EINVAL;
            if (_inFlight > 0)
                return -Errno.EBUSY;
            _closed = true;
            if (_waiters > 0)
                Signal();
            else
                Files.Close(_eventFd);
            return 0;
        }
    }

    private int Take(Span<Completion> completions, bool mayWait)
    {
        lock (_gate)
        {
            if (_closed)
                return -Errno.ESHUTDOWN;
            var taken = Math.Min(_count, completions.Length);
            for (var i = 0; i < taken; i++)
                completions[i] = _ring[(_head + i) & _mask];
            _head = (_head + taken) & _mask;
            _count -= taken;
            if (_count == 0 && _isSignalled)
                Unsignal();
            if (taken == 0 && mayWait)
                _waiters++;
            return taken;
        }
    }

    private void EndWait()
    {
        lock (_gate)
        {
            if (--_waiters == 0 && _closed)
                Files.Close(_eventFd);
        }
    }

    /// <summary>Who fetches without waiting needs no signal, and pays for none.</summary>
    private void SignalIfNeeded()
    {
        if (_count > 0 && !_isSignalled && (_isWatched || _waiters > 0))
            Signal();
    }

    private void Signal()
    {
        ulong one = 1;
        Files.WriteStream(_eventFd, &one, sizeof(ulong));
        _isSignalled = true;
    }

    private void Unsignal()
    {
        ulong count;
        Files.ReadStream(_eventFd, &count, sizeof(ulong));
        _isSignalled = false;
    }
}
