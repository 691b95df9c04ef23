using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Interop;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Exports.NbdKernel;

/// <summary>Connections pass from one server to the next while "the kernel" notices nothing.</summary>
public sealed class KeptConnectionTests : KernelConnectionsFixture
{
    [Fact]
    public void Next_server_goes_on_where_the_one_before_stopped()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        Write(first, handle: 1, value: 0x01);
        Assert.Equal(1ul, Reply(first));
        using (Leave(expected: 2))
        {
            Assert.Equal(0x01, Read(first, handle: 2));
            Assert.Equal(0x01, Read(second, handle: 3));
        }
    }

    [Fact]
    public void Request_that_was_received_and_held_is_served_by_the_next_server()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        Hold();
        Write(first, handle: 1, value: 0xee);
        Thread.Sleep(200); // Received, and waiting at the gate.
        using (LeaveHeld(expected: 2))
        {
            Assert.Equal(1ul, Reply(first));
            Assert.Equal(0xee, Read(second, handle: 2));
        }
    }

    [Theory]
    [InlineData(1, 4096)] // In the middle of a header.
    [InlineData(27, 4096)]
    [InlineData(28, 4096)]
    [InlineData(1000, 4096)] // In a payload that comes with its header.
    [InlineData(28 + 4096 - 1, 4096)]
    [InlineData(28, 512 * 1024)] // In a payload with memory of its own.
    [InlineData(300_000, 512 * 1024)]
    public void Request_that_was_half_received_is_served_when_the_rest_comes(int sent, int length)
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        Hold();
        var message = WriteMessage(handle: 5, value: 0x5a, length);
        SendAll(first, message.AsSpan(0, sent));
        Thread.Sleep(100);
        using (LeaveHeld(expected: 2))
        {
            SendAll(first, message.AsSpan(sent));
            Assert.Equal(5ul, Reply(first));
            Assert.Equal(0x5a, Read(second, handle: 6));
        }
    }

    [Fact]
    public void Large_write_that_was_held_whole_is_served_with_what_came_behind_it()
    {
        var ends = Open(2);
        using var first = ends[0];
        Hold();
        SendAll(first,
            [.. WriteMessage(handle: 1, value: 0x11, 512 * 1024), .. WriteMessage(handle: 2, value: 0x22, Block),
                .. WriteMessage(handle: 3, value: 0x33, Block)]);
        Thread.Sleep(200);
        using (LeaveHeld(expected: 2))
        {
            Assert.Equal([1ul, 2ul, 3ul], new[] { Reply(first), Reply(first), Reply(first) }.Order());
        }

        ends[1].Dispose();
    }

    [Fact]
    public void Connection_passes_through_several_servers()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        var message = WriteMessage(handle: 9, value: 0x99, 400 * 1024);
        SendAll(first, message.AsSpan(0, 150_000));
        Hold();
        using var middle = LeaveHeld(expected: 2);
        middle.Server.Hold(() => { });
        SendAll(first, message.AsSpan(150_000, 100_000));
        Thread.Sleep(100);
        using (middle.LeaveHeld())
        {
            SendAll(first, message.AsSpan(250_000));
            Assert.Equal(9ul, Reply(first));
            Assert.Equal(0x99, Read(second, handle: 10));
        }
    }

    [Fact]
    public void Connection_that_was_taken_once_ends_when_it_is_taken_again()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        Hold();
        Write(first, handle: 1, value: 0x01);
        Thread.Sleep(200);
        Assert.True(Connections.Leave(Plenty, out var kept));
        var descriptors = KeptConnection.Pack(kept).ToArray();
        var again = descriptors.Select(fd => Fcntl.Control(fd, F_DUPFD_CLOEXEC, 0)).ToArray();
        var taken = KeptConnection.Unpack(descriptors);
        Assert.Equal(2, taken.Count);
        Assert.Empty(KeptConnection.Unpack(again));
        Assert.Equal(0, first.Receive(new byte[1]));
        Assert.Equal(0, second.Receive(new byte[1]));
        foreach (var connection in taken)
            Files.Close(connection.Socket);
    }

    [Fact]
    public void Connection_that_the_kernel_gave_up_is_not_kept()
    {
        var ends = Open(2);
        using var second = ends[1];
        Hold();
        ends[0].Dispose();
        Thread.Sleep(100);
        using (LeaveHeld(expected: 1))
            Assert.Equal(0, Read(second, handle: 1));
    }

    private NextServer Leave(int expected)
    {
        Hold();
        return LeaveHeld(expected);
    }

    private NextServer LeaveHeld(int expected)
    {
        Assert.True(Connections.Leave(Plenty, out var kept));
        Server.Release();
        Assert.Equal(expected, kept.Count);
        return new NextServer(this, kept);
    }

    private static byte[] WriteMessage(ulong handle, byte value, int length)
    {
        var message = new byte[28 + length];
        Header(message, type: 1, handle);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(24), (uint)length);
        message.AsSpan(28).Fill(value);
        return message;
    }

    private static void SendAll(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
            bytes = bytes[socket.Send(bytes)..];
    }

    /// <summary>Takes connections as a new process does: from descriptors.</summary>
    private sealed class NextServer : IDisposable
    {
        private readonly KeptConnectionTests _test;
        private readonly KernelConnections _connections;

        internal NextServer(KeptConnectionTests test, IReadOnlyList<KeptConnection> kept)
        {
            _test = test;
            Server = test.NewServer();
            _connections = test.NewConnections(Server);
            var passed = KeptConnection.Unpack(KeptConnection.Pack(kept).ToArray());
            Assert.Equal(kept.Count, passed.Count);
            Assert.Equal(0, _connections.Adopt(test.Session, passed));
        }

        internal NbdServer Server { get; }

        internal NextServer LeaveHeld()
        {
            Assert.True(_connections.Leave(Plenty, out var kept));
            return new NextServer(_test, kept);
        }

        public void Dispose()
        {
            Assert.True(_connections.CloseAll(Plenty));
            _connections.CloseWatches();
        }
    }
}
