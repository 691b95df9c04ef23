using System;
using System.Buffers.Binary;
using System.Net;
using System.Runtime.InteropServices;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>netinet/in.h and netinet/tcp.h: connections to servers elsewhere.</summary>
internal static unsafe class InetSockets
{
    private const int EINPROGRESS = 115;

    // A peer that vanished is noticed after two minutes without requests; with them, their own clock is faster.
    private const int KeepAliveIdle = 60, KeepAliveInterval = 15, KeepAliveCount = 4;

    /// <summary>Begins to connect. What is read from the socket first waits for the connection, or says why there is none.</summary>
    /// <returns>a socket that is not non-blocking, or a negative errno</returns>
    public static int StartConnect(IPAddress address, int port)
    {
        ArgumentNullException.ThrowIfNull(address);
        Span<byte> storage = stackalloc byte[sizeof(sockaddr_in6)];
        storage.Clear();
        var length = Encode(address, port, storage);
        var isSix = length == sizeof(sockaddr_in6);
        var fd = socket(isSix ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
            return -Marshal.GetLastPInvokeError();
        fixed (byte* target = storage)
        {
            if (connect(fd, (sockaddr*)target, (uint)length) < 0 && Marshal.GetLastPInvokeError() is var errno and not EINPROGRESS)
            {
                _ = Unistd.Close(fd);
                return -errno;
            }
        }

        var error = SetOptions(fd);
        if (error == 0)
            error = SetBlocking(fd);
        if (error < 0)
            _ = Unistd.Close(fd);
        return error < 0 ? error : fd;
    }

    /// <summary>The ring waits for a socket only if it may: a non-blocking one would answer -EAGAIN.</summary>
    public static int SetBlocking(int fd)
    {
        var flags = Errno.Of(Fcntl.Control(fd, F_GETFL, 0));
        return flags < 0 ? flags : Errno.Of(Fcntl.Control(fd, F_SETFL, flags & ~O_NONBLOCK));
    }

    private static int SetOptions(int fd)
    {
        var error = Sockets.SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        if (error == 0)
            error = Sockets.SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        if (error == 0)
            error = Sockets.SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, KeepAliveIdle);
        if (error == 0)
            error = Sockets.SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, KeepAliveInterval);
        return error < 0 ? error : Sockets.SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, KeepAliveCount);
    }

    /// <summary>struct sockaddr_in (family, port, address) or sockaddr_in6 (family, port, flow, address, scope).</summary>
    private static int Encode(IPAddress address, int port, Span<byte> target)
    {
        var isSix = address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6;
        BitConverter.TryWriteBytes(target, (ushort)(isSix ? AF_INET6 : AF_INET));
        BinaryPrimitives.WriteUInt16BigEndian(target[2..], checked((ushort)port));
        address.TryWriteBytes(target[(isSix ? 8 : 4)..], out _);
        if (isSix)
            BitConverter.TryWriteBytes(target[24..], (uint)address.ScopeId);
        return isSix ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    }
}
