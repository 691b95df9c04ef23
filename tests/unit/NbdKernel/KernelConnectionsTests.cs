using System;
using System.Buffers.Binary;
using System.IO;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Nbd;
using Qcow2Blk.Tests.Support;
using Qcow2Blk.Uring;
using Xunit;

namespace Qcow2Blk.Tests.NbdKernel;

/// <summary>Two connections to "the kernel", which is the test: it gives one up and sends anew on the other.</summary>
public sealed class KernelConnectionsTests : IDisposable
{
    private const int Block = 4096;
    private static readonly TimeSpan Plenty = TimeSpan.FromSeconds(30);

    private readonly TempDirectory _directory = new();
    private readonly OffloadPool _pool = new(1);
    private readonly EventLoop[] _loops = new EventLoop[2];
    private readonly IDisk _disk;
    private readonly NbdServer _server;
    private readonly KernelConnections _connections;
    private readonly NegotiatedSession _session;
    private readonly AutoResetEvent _replaceable = new(false);

    public KernelConnectionsTests()
    {
        var path = _directory.File("disk.raw");
        File.WriteAllBytes(path, new byte[1 << 20]);
        for (var i = 0; i < _loops.Length; i++)
        {
            _loops[i] = new EventLoop(i, _pool);
            _loops[i].Start();
        }

        IDisk? disk = null;
        OnHome(async () =>
        {
            disk = (await ImageChain.OpenAsync(new AttachOptions { Image = path, Format = AttachFormat.Raw, SocketPath = "/none" }, new NoLog())).Disk;
            return 0;
        });
        _disk = disk!;
        var served = new ServedDisk(_loops[0], parkOnNoSpace: false);
        served.Set(_disk);
        var info = new ExportInfo { Name = "disk", Size = _disk.Size, MultiConnection = true, CanTrim = true, CanZero = true };
        _session = new NegotiatedSession(info, ReplyMode.Simple, [], blockSizesRequested: false);
        _server = new NbdServer(_loops, served, new Catalog(info), _ => { });
        _connections = new KernelConnections(_server, _loops.Length, 2) { Replaceable = () => _replaceable.Set() };
    }

    public void Dispose()
    {
        Assert.True(_connections.CloseAll(Plenty));
        _connections.CloseWatches();
        OnHome(_disk.CloseAsync);
        foreach (var loop in _loops)
            loop.Dispose();
        _pool.Dispose();
        _replaceable.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public void Both_connections_serve_without_a_handshake()
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
        _server.Release();
        Assert.Equal(1ul, Reply(second));
        Assert.True(_replaceable.WaitOne(Plenty));
        Assert.Equal(0xc0, Read(second, handle: 2));
        Assert.Equal(1, _server.Statistics().Writes);
    }

    [Fact]
    public void Connection_that_was_given_up_is_replaced()
    {
        var ends = Open(2);
        using var first = ends[0];
        using var second = ends[1];
        first.Shutdown(SocketShutdown.Both);
        _connections.LookForShutDown();
        Assert.True(_replaceable.WaitOne(Plenty));
        Assert.Equal(1, _connections.Live);
        using var third = Open(1)[0];
        Write(third, handle: 7, value: 0x77);
        Assert.Equal(7ul, Reply(third));
        Assert.Equal(0x77, Read(second, handle: 8));
        Assert.Equal(1, _connections.Replaced);
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

        _connections.LookForShutDown();
        Assert.True(_replaceable.WaitOne(Plenty));
        using var third = Open(1)[0];
        Write(third, handle: 1, value: 0xc1);
        _server.Release();
        Assert.Equal(1ul, Reply(third));
        Assert.Equal(0xc1, Read(second, handle: 2));
        Assert.Equal(1, _server.Statistics().Writes);
    }

    [Fact]
    public void Connections_that_end_when_the_device_ends_are_not_replaced()
    {
        var ends = Open(2);
        _connections.BeginEnd();
        ends[0].Dispose();
        ends[1].Dispose();
        Assert.True(_connections.CloseAll(Plenty));
        Assert.Empty(Open(0));
        Assert.False(_replaceable.WaitOne(0));
    }

    private Socket[] Open(int expected)
    {
        Assert.Equal(0, _connections.Open(_session, out var ends));
        Assert.Equal(expected, ends.Length);
        return Array.ConvertAll(ends, fd => new Socket(new SafeSocketHandle(fd, ownsHandle: true)) { ReceiveTimeout = 30_000, SendTimeout = 30_000 });
    }

    private void Hold()
    {
        var drained = new ManualResetEventSlim();
        _server.Hold(drained.Set);
        Assert.True(drained.Wait(Plenty, TestContext.Current.CancellationToken));
    }

    private static void Write(Socket socket, ulong handle, byte value)
    {
        var message = new byte[28 + Block];
        Header(message, type: 1, handle);
        message.AsSpan(28).Fill(value);
        Assert.Equal(message.Length, socket.Send(message));
    }

    private static byte Read(Socket socket, ulong handle)
    {
        var message = new byte[28];
        Header(message, type: 0, handle);
        Assert.Equal(message.Length, socket.Send(message));
        Assert.Equal(handle, Reply(socket));
        return Take(socket, Block)[Block - 1];
    }

    private static void Header(Span<byte> message, uint type, ulong handle)
    {
        BinaryPrimitives.WriteUInt32BigEndian(message, 0x25609513);
        BinaryPrimitives.WriteUInt32BigEndian(message[4..], type);
        BinaryPrimitives.WriteUInt64BigEndian(message[8..], handle);
        BinaryPrimitives.WriteUInt64BigEndian(message[16..], 0);
        BinaryPrimitives.WriteUInt32BigEndian(message[24..], Block);
    }

    /// <summary>The handle of a reply that says success.</summary>
    private static ulong Reply(Socket socket)
    {
        var reply = Take(socket, 16);
        Assert.Equal(0x67446698u, BinaryPrimitives.ReadUInt32BigEndian(reply));
        Assert.Equal(0u, BinaryPrimitives.ReadUInt32BigEndian(reply.AsSpan(4)));
        return BinaryPrimitives.ReadUInt64BigEndian(reply.AsSpan(8));
    }

    private static byte[] Take(Socket socket, int length)
    {
        var bytes = new byte[length];
        for (var taken = 0; taken < length;)
        {
            var count = socket.Receive(bytes, taken, length - taken, SocketFlags.None);
            taken += count > 0 ? count : throw new EndOfStreamException();
        }

        return bytes;
    }

    private void OnHome(Func<LoopTask<int>> start)
    {
        using var done = new ManualResetEventSlim();
        Exception? failure = null;
        _loops[0].PostFromAnyThread(() => RunAsync().Forget());
        done.Wait();
        if (failure is not null)
            throw failure;

        async LoopTask<int> RunAsync()
        {
            try
            {
                await start();
            }
            catch (Exception error)
            {
                failure = error;
            }

            done.Set();
            return 0;
        }
    }
}
