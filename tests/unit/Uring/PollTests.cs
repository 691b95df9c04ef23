using System;
using System.Diagnostics;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Uring;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Uring;

/// <summary>Polls of descriptors: with the kernel's ring and without.</summary>
public sealed unsafe class PollTests : IDisposable
{
    private readonly int _readEnd;
    private readonly int _writeEnd;

    public PollTests() => Assert.Equal(0, Unistd.Pipe(out _readEnd, out _writeEnd));

    public void Dispose()
    {
        Unistd.Close(_readEnd);
        Unistd.Close(_writeEnd);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Poll_tells_the_events_that_there_are(bool emulated)
    {
        using var ring = Make(emulated);
        Poll(ring, _writeEnd, POLLOUT, 1);
        Assert.Equal((1UL, (int)POLLOUT), Next(ring));

        Poll(ring, _readEnd, POLLIN, 2);
        Assert.Null(Next(ring));
        Unistd.WriteAll(_writeEnd, [1]);
        Assert.Equal((2UL, (int)POLLIN), Next(ring));

        Poll(ring, _readEnd, (short)(POLLIN | POLLOUT), 3);
        Assert.Equal((3UL, (int)POLLIN), Next(ring));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Poll_for_room_wakes_the_ring_when_there_is_room(bool emulated)
    {
        using var ring = Make(emulated);
        var most = new byte[64 << 10];
        Assert.Equal(0, Unistd.WriteAll(_writeEnd, most));
        Poll(ring, _writeEnd, POLLOUT, 5);
        Assert.Null(Next(ring));
        var drain = new Thread(() =>
        {
            Thread.Sleep(100);
            Unistd.Read(_readEnd, most);
        });
        drain.Start();
        var time = Stopwatch.StartNew();
        Assert.Equal(0, ring.Enter(1, 5_000_000_000));
        Assert.True(time.ElapsedMilliseconds < 3000, $"it slept for {time.ElapsedMilliseconds} ms");
        Assert.Equal((5UL, (int)POLLOUT), Next(ring));
        drain.Join();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Poll_that_waits_can_be_cancelled(bool emulated)
    {
        using var ring = Make(emulated);
        Poll(ring, _readEnd, POLLIN, 4);
        Assert.Null(Next(ring));
        var entry = ring.Next();
        entry->opcode = IoUring.IORING_OP_ASYNC_CANCEL;
        entry->fd = -1;
        entry->addr = 4;
        entry->user_data = ulong.MaxValue;
        Assert.Equal((4UL, -Errno.ECANCELED), Next(ring));
    }

    private static Ring Make(bool emulated)
    {
        if (emulated)
            return Ring.CreateEmulated(8);
        var result = Ring.Create(8, out var ring);
        Assert.SkipWhen(result is -Errno.EPERM or -Errno.ENOSYS, $"no io_uring here: {Errno.Text(result)}");
        return ring!;
    }

    private static void Poll(Ring ring, int fd, short events, ulong userData)
    {
        var entry = ring.Next();
        entry->opcode = IoUring.IORING_OP_POLL_ADD;
        entry->fd = fd;
        entry->rw_flags = (ushort)events;
        entry->user_data = userData;
    }

    /// <summary>The next completion, but those of cancellations; null if none comes for a while.</summary>
    private static (ulong UserData, int Result)? Next(Ring ring)
    {
        for (var i = 0; i < 5; i++)
        {
            Assert.Equal(0, ring.Enter(1, 20_000_000));
            while (ring.TryTake(out var userData, out var result, out _))
            {
                if (userData != ulong.MaxValue)
                    return (userData, result);
            }
        }

        return null;
    }
}
