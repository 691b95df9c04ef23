using System;
using System.Buffers.Binary;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Exports.NbdKernel;

/// <summary>The kernel gives one of two connections up and sends anew on the other.</summary>
public sealed class KernelConnectionsTests : KernelConnectionsFixture
{
    [Fact]
    public void BothConnections_serve_without_a_handshake()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        Write(first, handle: 1, value: 0xa1);
        Assert.Equal(1ul, Reply(first));
        Assert.Equal(0xa1, Read(second, handle: 2));
    }

    [Fact]
    public void Write_that_waited_on_a_connection_that_was_given_up_never_happens()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        Hold();
        Write(first, handle: 1, value: 0x0d);
        Thread.Sleep(200); // Received, and waiting at the gate.
        first.Shutdown(SocketShutdown.Both);
        Write(second, handle: 1, value: 0xc0);
        Server.Release();
        Assert.Equal(1ul, Reply(second));
        Assert.True(Replaceable.WaitOne(Plenty));
        Assert.Equal(0xc0, Read(second, handle: 2));
        AssertWrites(1);
    }

    [Fact]
    public void Kernel_that_stops_in_the_middle_of_a_request_is_never_sent_away()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        var message = new byte[28 + Block];
        Header(message, type: 1, handle: 1);
        first.Send(message.AsSpan(0, 100));
        second.Send(message.AsSpan(0, 10));
        SpinWait.SpinUntil(() => Sockets.Unreceived((int)first.SafeHandle.DangerousGetHandle()) == 0, Plenty);
        OnHome(() => new LoopTask<int>(0));

        for (var i = 0; i < 1000; i++)
            Server.LookAtClients();

        OnHome(() => new LoopTask<int>(0));
        first.Send(message.AsSpan(100));
        second.Send(message.AsSpan(10));
        Assert.Equal((1ul, 1ul, 2), (Reply(first), Reply(second), Connections.Live));
    }

    [Fact]
    public void Loss_is_told_to_the_kernel_once_on_whichever_connection_it_flushes()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        Write(first, handle: 1, value: 1);
        Assert.Equal(1ul, Reply(first));
        Served.NoteLoss();

        Assert.Equal(5u, Flush(second));
        Assert.Equal((0u, 0u), (Flush(first), Flush(second)));
    }

    private static uint Flush(Socket socket)
    {
        var message = new byte[28];
        Header(message, type: 3, handle: 9);
        message.AsSpan(24).Clear();
        socket.Send(message);
        return BinaryPrimitives.ReadUInt32BigEndian(Take(socket, 16).AsSpan(4));
    }

    [Fact]
    public void Connection_that_was_given_up_is_replaced()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        first.Shutdown(SocketShutdown.Both);
        Connections.LookForShutDown();
        Assert.True(Replaceable.WaitOne(Plenty));
        Assert.Equal(1, Connections.Live);
        using var third = Open(1)[0];
        Write(third, handle: 7, value: 0x77);
        Assert.Equal(7ul, Reply(third));
        Assert.Equal(0x77, Read(second, handle: 8));
        Assert.Equal(1, Connections.Replaced);
    }

    [Fact]
    public void Connection_that_ends_during_a_suspend_is_replaced_before_the_resume()
    {
        var ends = Open(2);
        using var second = ends[1];
        using (var first = ends[0])
        {
            Hold();
            Write(first, handle: 1, value: 0x0d);
            Thread.Sleep(200);
        }

        Connections.LookForShutDown();
        Assert.True(Replaceable.WaitOne(Plenty));
        using var third = Open(1)[0];
        Write(third, handle: 1, value: 0xc1);
        Server.Release();
        Assert.Equal(1ul, Reply(third));
        Assert.Equal(0xc1, Read(second, handle: 2));
        AssertWrites(1);
    }

    [Fact]
    public void Large_write_that_was_received_while_requests_are_held_waits_though_another_connection_ends()
    {
        var ends = Open(2);
        using var second = ends[1];
        var message = new byte[28 + (16 * Block)];
        Header(message, type: 1, handle: 4);
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(24), 16 * Block);
        message.AsSpan(28).Fill(0x44);
        Assert.Equal(1000, second.Send(message.AsSpan(0, 1000)));
        Thread.Sleep(100); // Its memory is there, and part of it.
        Hold();
        for (var sent = 1000; sent < message.Length;)
            sent += second.Send(message.AsSpan(sent));
        Thread.Sleep(100);
        ends[0].Dispose();
        Connections.LookForShutDown();
        Assert.True(Replaceable.WaitOne(Plenty));
        Thread.Sleep(100);
        Assert.Equal(0, second.Available);
        Assert.Equal(0, Server.InFlight.Active);
        Server.Release();
        Assert.Equal(4ul, Reply(second));
    }

    [Fact]
    public void Connection_whose_replies_are_not_received_gets_another_one_ended_and_replaced()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        Assert.False(Connections.AnyUnproven); // Nothing is asked of them: nothing to look at from time to time.
        using var inUse = new AutoResetEvent(false);
        Connections.CameIntoUse = () => inUse.Set();
        Assert.Equal(0, Read(first, handle: 1)); // The first is received from, so it is proven.
        Assert.True(inUse.WaitOne(Plenty));
        Assert.True(Connections.AnyUnproven);
        Write(second, handle: 2, value: 0x22);
        Assert.True(SpinWait.SpinUntil(() => second.Available > 0, Plenty)); // Answered, and not received.
        // Once to see it, and once more to see that nothing moves; what was sent is counted a moment after it can be received.
        Assert.False(Connections.EndOneThatKeepsOthersFromReceiving());
        Assert.True(SpinWait.SpinUntil(Connections.EndOneThatKeepsOthersFromReceiving, Plenty));
        Assert.True(Replaceable.WaitOne(Plenty));
        Assert.Equal(0, first.Receive(new byte[1]));
        Assert.Equal(2ul, Reply(second));
        using var third = Open(1)[0];
        Assert.Equal(0x22, Read(third, handle: 3));
        Assert.True(SpinWait.SpinUntil(() => !Connections.EndOneThatKeepsOthersFromReceiving() && !Connections.AnyUnproven, Plenty));
    }

    [Fact]
    public void Connections_that_end_when_the_device_ends_are_not_replaced()
    {
        var ends = Open(2);
        Connections.BeginEnd();
        ends[0].Dispose();
        ends[1].Dispose();
        Assert.True(Connections.CloseAll(Plenty));
        Assert.Empty(Open(0));
        Assert.False(Replaceable.WaitOne(0));
    }
}
