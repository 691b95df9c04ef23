using System;
using System.Diagnostics;
using System.IO;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Uring;

/// <summary>One descriptor that tells when a loop without a thread has something to do: a completion or a message, or a timer.</summary>
internal sealed class LoopWatch : IDisposable
{
    private const long Never = long.MaxValue;

    private readonly int _timer;
    private long _due = Never;

    /// <param name="message">an eventfd that completions and messages signal</param>
    /// <exception cref="IOException">there are no descriptors left</exception>
    public LoopWatch(int message)
    {
        Descriptor = Epoll.Create();
        _timer = Descriptor < 0 ? Descriptor : Epoll.CreateTimer();
        var error = Math.Min(_timer, 0);
        if (error == 0)
            error = Epoll.Add(Descriptor, _timer);
        if (error == 0)
            error = Epoll.Add(Descriptor, message);
        if (error == 0)
            return;
        Dispose();
        throw new IOException($"cannot watch a loop: {Errno.Text(error)}") { HResult = -error };
    }

    /// <summary>Readable when there is something to do.</summary>
    public int Descriptor { get; }

    /// <summary>
    /// Makes the descriptor readable after this time at the latest, and then again each time that nothing was due yet: a timer that
    /// is set anew with every request costs a system call each.
    /// </summary>
    /// <param name="nanoseconds">negative for never</param>
    public void Arm(long nanoseconds)
    {
        var now = Stopwatch.GetTimestamp();
        var due = nanoseconds < 0 ? Never : now + LoopTime.FromNanoseconds(nanoseconds);
        if (_due != Never && now < _due && _due <= due)
            return;
        if (_due == Never && due == Never)
            return;
        _due = due;
        Epoll.SetTimer(_timer, nanoseconds);
    }

    public void Dispose()
    {
        if (_timer >= 0)
            Files.Close(_timer);
        if (Descriptor >= 0)
            Files.Close(Descriptor);
    }
}
