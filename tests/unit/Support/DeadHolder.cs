using System;
using System.Collections.Generic;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Support;

/// <summary>
/// What a killed server leaves for a moment: an image that is open and locked for writing, while no process has it among its
/// descriptors. Here the open file is on its way through a socket.
/// </summary>
internal sealed class DeadHolder : IDisposable
{
    private readonly int _near;
    private int _far;

    internal DeadHolder(string image)
    {
        var fd = Fcntl.Open(image, O_RDWR | O_CLOEXEC, 0);
        ImageLock.Acquire(fd, image, write: true);
        Assert.Equal(0, Sockets.Pair(out _near, out _far));
        Assert.Equal(0, UnixSocket.SendAll(_near, "x"u8, [fd]));
        Unistd.Close(fd);
    }

    /// <summary>The kernel closes what was on its way, and drops its locks.</summary>
    internal void LetGo()
    {
        if (_far < 0)
            return;
        // The locks by hand: a process that another test is starting may hold the socket a little longer than we do.
        var arrived = new List<int>();
        Assert.Equal(1, UnixSocket.Receive(_far, stackalloc byte[1], arrived));
        var fd = Assert.Single(arrived);
        Assert.Equal(0, Fcntl.SetLock(fd, F_UNLCK, 0, 0));
        Unistd.Close(fd);
        Unistd.Close(_far);
        _far = -1;
    }

    public void Dispose()
    {
        LetGo();
        Unistd.Close(_near);
    }
}
