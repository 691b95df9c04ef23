using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Uring;
using Xunit;

namespace Qcow2Blk.Tests.Uring;

/// <summary>The ring of control commands, on the one driver that every machine has: sockets (Linux 6.7).</summary>
public sealed class CommandRingTests : IDisposable
{
    private const uint SOCKET_URING_OP_SIOCINQ = 0;
    private static readonly TimeSpan s_enough = TimeSpan.FromSeconds(20);

    private readonly CommandRing? _ring;
    private readonly Socket _receiver = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);

    public CommandRingTests()
    {
        var result = CommandRing.Create(out _ring);
        Assert.SkipWhen(result is -Errno.EPERM or -Errno.ENOSYS or -Errno.EINVAL,
            $"no io_uring with 128-byte entries: {Errno.Text(result)}");
        Assert.Equal(0, result);
        _receiver.Bind(new IPEndPoint(IPAddress.Loopback, 0));
    }

    [Fact]
    public void Command_is_answered_by_the_driver()
    {
        Assert.SkipWhen(Ask() == -Errno.EOPNOTSUPP, "sockets take no commands before Linux 6.7");
        Assert.Equal(0, Ask());
        using var sender = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        sender.SendTo(new byte[1234], _receiver.LocalEndPoint!);
        Assert.True(_receiver.Poll(s_enough, SelectMode.SelectRead));

        // More often than the ring has entries, and from several threads, one after the other.
        for (var i = 0; i < 50; i++)
            Assert.Equal(1234, Ask());
        var seen = 0;
        var other = new Thread(() => seen = Ask());
        other.Start();
        other.Join();
        Assert.Equal(1234, seen);
    }

    [Fact]
    public void Unknown_command_is_the_drivers_error() =>
        Assert.Equal(-Errno.EOPNOTSUPP, _ring!.Call((int)_receiver.Handle, 0xfeed, [], s_enough));

    [Fact]
    public void Wrong_descriptor_is_an_error_and_the_ring_goes_on()
    {
        Assert.Equal(-Errno.EBADF, _ring!.Call(-1, SOCKET_URING_OP_SIOCINQ, new byte[CommandRing.PayloadLength], s_enough));
        Assert.False(_ring.IsGivenUp);
        Assert.Equal(-Errno.EOPNOTSUPP, _ring.Call((int)_receiver.Handle, 0xfeed, [], s_enough));
    }

    [Fact]
    public void Command_that_ends_at_once_ends_even_without_time() =>
        Assert.Equal(-Errno.EOPNOTSUPP, _ring!.Call((int)_receiver.Handle, 0xfeed, [], TimeSpan.Zero));

    [Fact]
    public void Payload_that_does_not_fit_is_a_bug() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => _ring!.Call(0, 0, new byte[CommandRing.PayloadLength + 1], s_enough));

    [Fact]
    public void Ring_takes_nothing_after_its_end()
    {
        _ring!.Dispose();
        Assert.Throws<ObjectDisposedException>(() => _ring.Call(0, 0, [], s_enough));
    }

    public void Dispose()
    {
        _ring?.Dispose();
        _receiver.Dispose();
    }

    private int Ask() => _ring!.Call((int)_receiver.Handle, SOCKET_URING_OP_SIOCINQ, [], s_enough);
}
