using System;
using System.IO;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Tests.Exports;

/// <summary>An image served over NBD by one loop of this process, and one plain client: simple replies, requests as bytes.</summary>
internal sealed class ServedImage : IDisposable
{
    private readonly ServedScene _scene;
    private readonly NbdClient _client;

    public ServedImage(string image)
        : this(async () => (await ImageChain.OpenAsync(new AttachOptions { Image = image, SocketPath = image + ".s" }, new NoLog())).Disk)
    {
    }

    /// <summary>Serves any disk; it is opened on the loop.</summary>
    public ServedImage(Func<LoopTask<IDisk>> open)
    {
        _scene = new ServedScene(open);
        _client = _scene.Connect();
    }

    private EventLoop Loop => _scene.Loops[0];

    /// <summary>What the loop's thread has allocated until now.</summary>
    public long Allocated() => _scene.OnHome(() => new LoopTask<long>(GC.GetAllocatedBytesForCurrentThread()));

    public void AllocateOnLoop(int bytes) => GC.KeepAlive(_scene.OnHome(() => new LoopTask<object>(new byte[bytes])));

    /// <summary>Makes the kernel of the loop's ring refuse submissions as this says.</summary>
    public void RefuseSubmissions(Func<int>? refuse) => _scene.OnHome(() =>
    {
        Loop.Ring.RefuseSubmission = refuse;
        return new LoopTask<int>(0);
    });

    /// <summary>As when an image could not be closed cleanly: the next flush is told.</summary>
    public void NoteLoss() => _scene.Served.NoteLoss();

    /// <summary>Sends a round of requests at once and takes all their replies.</summary>
    public void Round(byte[] requests, byte[] replies)
    {
        _client.Send(requests);
        for (var taken = 0; taken < replies.Length;)
        {
            var count = _client.Socket.Receive(replies, taken, replies.Length - taken, System.Net.Sockets.SocketFlags.None);
            taken += count > 0 ? count : throw new EndOfStreamException();
        }
    }

    public void Dispose() => _scene.Dispose();
}
