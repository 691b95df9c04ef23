using System;
using System.Buffers.Binary;
using System.IO;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Protocol;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Exports.Nbd;
using Qcow2Blk.Tests.Support;
using Qcow2Blk.Uring;
using Xunit;

namespace Qcow2Blk.Tests.Exports.NbdKernel;

/// <summary>A disk served over connections to "the kernel", which is the test.</summary>
public abstract class KernelConnectionsFixture : IDisposable
{
    private protected const int Block = 4096;
    private protected static readonly TimeSpan Plenty = TimeSpan.FromSeconds(30);

    private readonly TempDirectory _directory = new();
    private readonly OffloadPool _pool = new(1);
    private readonly EventLoop[] _loops = new EventLoop[2];
    private readonly IDisk _disk;
    private readonly ServedDisk _served;
    private readonly Catalog _catalog;

    private protected NbdServer Server { get; }

    private protected ServedDisk Served => _served;

    private protected KernelConnections Connections { get; }

    private protected NegotiatedSession Session { get; }

    private protected AutoResetEvent Replaceable { get; } = new(false);

    private protected KernelConnectionsFixture()
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
            disk = (await ImageChain.OpenAsync(new AttachOptions { Image = path, Format = ImageFormat.Raw, SocketPath = "/none" },
                new NoLog())).Disk;
            return 0;
        });
        _disk = disk!;
        _served = new ServedDisk(_loops[0], parkOnNoSpace: false);
        _served.Set(_disk);
        var info = new ExportInfo { Name = "disk", Size = _disk.Size, MultiConnection = true, CanTrim = true, CanZero = true };
        _catalog = new Catalog(info);
        Session = new NegotiatedSession(info, ReplyMode.Simple, [], blockSizesRequested: false);
        Server = NewServer();
        Connections = new KernelConnections(Server, _loops.Length, 2) { Replaceable = () => Replaceable.Set() };
    }

    public void Dispose()
    {
        GC.SuppressFinalize(this);
        Assert.True(Connections.CloseAll(Plenty));
        Connections.CloseWatches();
        OnHome(_disk.CloseAsync);
        foreach (var loop in _loops)
            loop.Dispose();
        _pool.Dispose();
        Replaceable.Dispose();
        _directory.Dispose();
    }

    /// <summary>Another server of the same disk, as another process would have it.</summary>
    private protected NbdServer NewServer() => new(_loops, _served, _catalog, _ => { });

    /// <summary>Connections of such a server; the test closes them.</summary>
    private protected KernelConnections NewConnections(NbdServer server) => new(server, _loops.Length, 2);

    private protected Socket[] Open(int expected)
    {
        Assert.Equal(0, Connections.Open(Session, out var ends));
        Assert.Equal(expected, ends.Length);
        return Array.ConvertAll(ends,
            fd => new Socket(new SafeSocketHandle(fd, ownsHandle: true)) { ReceiveTimeout = 30_000, SendTimeout = 30_000 });
    }

    private protected void Hold()
    {
        var drained = new ManualResetEventSlim();
        Server.Hold(drained.Set);
        Assert.True(drained.Wait(Plenty, TestContext.Current.CancellationToken));
    }

    /// <summary>So many writes happened; they are counted on their loop a moment after their reply can be received.</summary>
    private protected void AssertWrites(long expected)
    {
        SpinWait.SpinUntil(() => Server.Statistics().Requests(IoKind.Write) >= expected, Plenty);
        Assert.Equal(expected, Server.Statistics().Requests(IoKind.Write));
    }

    private protected static void Write(Socket socket, ulong handle, byte value)
    {
        var message = new byte[28 + Block];
        Header(message, type: 1, handle);
        message.AsSpan(28).Fill(value);
        Assert.Equal(message.Length, socket.Send(message));
    }

    private protected static byte Read(Socket socket, ulong handle)
    {
        var message = new byte[28];
        Header(message, type: 0, handle);
        Assert.Equal(message.Length, socket.Send(message));
        Assert.Equal(handle, Reply(socket));
        return Take(socket, Block)[Block - 1];
    }

    private protected static void Header(Span<byte> message, uint type, ulong handle)
    {
        BinaryPrimitives.WriteUInt32BigEndian(message, 0x25609513);
        BinaryPrimitives.WriteUInt32BigEndian(message[4..], type);
        BinaryPrimitives.WriteUInt64BigEndian(message[8..], handle);
        BinaryPrimitives.WriteUInt64BigEndian(message[16..], 0);
        BinaryPrimitives.WriteUInt32BigEndian(message[24..], Block);
    }

    /// <summary>The handle of a reply that says success.</summary>
    private protected static ulong Reply(Socket socket)
    {
        var reply = Take(socket, 16);
        Assert.Equal(0x67446698u, BinaryPrimitives.ReadUInt32BigEndian(reply));
        Assert.Equal(0u, BinaryPrimitives.ReadUInt32BigEndian(reply.AsSpan(4)));
        return BinaryPrimitives.ReadUInt64BigEndian(reply.AsSpan(8));
    }

    private protected static byte[] Take(Socket socket, int length)
    {
        var bytes = new byte[length];
        for (var taken = 0; taken < length;)
        {
            var count = socket.Receive(bytes, taken, length - taken, SocketFlags.None);
            taken += count > 0 ? count : throw new EndOfStreamException();
        }

        return bytes;
    }

    private protected void OnHome(Func<LoopTask<int>> start)
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
