using System;
using System.Buffers.Binary;
using System.IO;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Nbd;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Tests.Exports;

/// <summary>An image served over NBD by one loop of this process, and one plain client: simple replies, requests as bytes.</summary>
internal sealed class ServedImage : IDisposable
{
    private readonly OffloadPool _pool = new(2);
    private readonly EventLoop _loop;
    private readonly NbdServer _server;
    private readonly IDisk _disk;
    private readonly int _listener;
    private readonly Socket _client;

    public ServedImage(string image, string socket)
    {
        _loop = new EventLoop(0, _pool);
        _loop.Start();
        _disk = OnLoop(async () => (await ImageChain.OpenAsync(new AttachOptions { Image = image, SocketPath = socket }, new NoLog())).Disk);
        var served = new ServedDisk(_loop, parkOnNoSpace: false);
        served.Set(_disk);
        var export = Catalog.Disk with { Size = _disk.Size };
        _server = new NbdServer([_loop], served, new Catalog(export), _ => { });
        _listener = UnixSocket.Serve(socket, 8);
        _server.Listen(_listener);
        _client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 30000, SendTimeout = 30000 };
        _client.Connect(new UnixDomainSocketEndPoint(socket));
        Handshake();
    }

    /// <summary>What the loop's thread has allocated until now.</summary>
    public long Allocated() => OnLoop(() => new LoopTask<long>(GC.GetAllocatedBytesForCurrentThread()));

    public void AllocateOnLoop(int bytes) => GC.KeepAlive(OnLoop(() => new LoopTask<object>(new byte[bytes])));

    /// <summary>Sends a round of requests at once and takes all their replies.</summary>
    public void Round(byte[] requests, byte[] replies)
    {
        _client.Send(requests);
        for (var taken = 0; taken < replies.Length;)
        {
            var count = _client.Receive(replies, taken, replies.Length - taken, SocketFlags.None);
            taken += count > 0 ? count : throw new EndOfStreamException();
        }
    }

    public void Dispose()
    {
        _client.Dispose();
        _server.Close();
        OnLoop(_disk.CloseAsync);
        UnixSocket.Shutdown(_listener, UnixSocket.SHUT_RDWR);
        Unistd.Close(_listener);
        _loop.Dispose();
        _pool.Dispose();
    }

    private void Handshake()
    {
        const ulong IHAVEOPT = 0x49484156454F5054;
        const uint NBD_OPT_EXPORT_NAME = 1, NBD_FLAG_C_FIXED_NEWSTYLE_AND_NO_ZEROES = 3;
        Round([], new byte[18]);
        var answer = new byte[20];
        BinaryPrimitives.WriteUInt32BigEndian(answer, NBD_FLAG_C_FIXED_NEWSTYLE_AND_NO_ZEROES);
        BinaryPrimitives.WriteUInt64BigEndian(answer.AsSpan(4), IHAVEOPT);
        BinaryPrimitives.WriteUInt32BigEndian(answer.AsSpan(12), NBD_OPT_EXPORT_NAME);
        Round(answer, new byte[10]);
    }

    private T OnLoop<T>(Func<LoopTask<T>> start)
    {
        using var done = new ManualResetEventSlim();
        T result = default!;
        Exception? failure = null;
        _loop.PostFromAnyThread(() => RunAsync().Forget());
        done.Wait();
        return failure is null ? result : throw failure;

        async LoopTask<int> RunAsync()
        {
            try
            {
                result = await start();
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
