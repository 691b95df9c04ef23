using System;
using System.IO;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Uring;

/// <summary>One descriptor that tells when a loop without a thread has something to do: a completion or a message, or a timer.</summary>
internal sealed class LoopWatch : IDisposable
{
    private readonly int _timer;
    private long _armed = -1;

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

    /// <summary>Makes the descriptor readable after this time; what was due before no longer does.</summary>
    /// <param name="nanoseconds">negative for never</param>
    public void Arm(long nanoseconds)
    {
        // Nothing was due, and nothing will be.
        if (nanoseconds < 0 && _armed < 0)
            return;
        _armed = nanoseconds;
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
