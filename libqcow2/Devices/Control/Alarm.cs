using System;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Control;

/// <summary>Wakes a thread that waits for descriptors, once and for all.</summary>
internal sealed class Alarm : IDisposable
{
    private readonly int _fd;
    private volatile bool _isRaised;

    /// <exception cref="OutcomeException">there are no descriptors left</exception>
    public Alarm()
    {
        _fd = Files.EventFd();
        if (_fd < 0)
            throw new OutcomeException(OutcomeKind.Failed, "cannot make an eventfd", Errno.Text(_fd));
    }

    public bool IsRaised => _isRaised;

    /// <summary>Any thread, before <see cref="Dispose"/>.</summary>
    public void Raise()
    {
        _isRaised = true;
        Span<byte> one = stackalloc byte[sizeof(ulong)];
        BitConverter.TryWriteBytes(one, 1UL);
        _ = Unistd.WriteAll(_fd, one);
    }

    /// <summary>Waits until a descriptor can be read or has ended, the alarm is raised, or the time is over.</summary>
    /// <param name="fd">negative: none</param>
    /// <param name="milliseconds">negative: for ever</param>
    public unsafe void Wait(int fd, int milliseconds)
    {
        var entries = stackalloc pollfd[2];
        entries[0] = new pollfd { fd = _fd, events = POLLIN };
        entries[1] = new pollfd { fd = fd, events = POLLIN }; // poll(2) passes over a negative one.
        _ = Poll.Wait(entries, 2, milliseconds); // A signal is a reason to look again.
    }

    public void Dispose() => _ = Unistd.Close(_fd);
}
