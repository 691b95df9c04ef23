using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>sys/un.h and the part of sys/socket.h that the control socket needs: blocking, close-on-exec.</summary>
internal static unsafe class UnixSocket
{
    /// <summary>Two for each connection that a block device can have, and one with a key; the kernel takes 253.</summary>
    internal const int MaxDescriptors = 65;

    private const int ControlBytes = 16 + ((MaxDescriptors + 1) * sizeof(int));

    internal static int Shutdown(int fd, int how) => shutdown(fd, how);

    /// <summary>Binds and listens; only the owner may connect.</summary>
    /// <returns>the socket, or a negative errno</returns>
    internal static int Serve(string path, int backlog)
    {
        if (!TryAddress(path, out var address, out var length))
            return -Errno.EINVAL;
        var fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -Marshal.GetLastPInvokeError();
        // The mode of an unbound socket is the mode that bind gives to its file: it is never open to others.
        if (fchmod(fd, 0x180) == 0 && bind(fd, (sockaddr*)&address, length) == 0 && listen(fd, backlog) == 0)
            return fd;
        var errno = Marshal.GetLastPInvokeError();
        _ = Unistd.Close(fd);
        return -errno;
    }

    /// <param name="path">where somebody listens</param>
    /// <param name="wait">for a listener that has too many connections to accept; else the answer is -EAGAIN</param>
    /// <returns>the socket, or a negative errno (-ECONNREFUSED: nobody listens there any more)</returns>
    internal static int Connect(string path, bool wait = true)
    {
        if (!TryAddress(path, out var address, out var length))
            return -Errno.EINVAL;
        var fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
        if (fd < 0)
            return -Marshal.GetLastPInvokeError();
        if (connect(fd, (sockaddr*)&address, length) == 0)
            return fd;
        var errno = Marshal.GetLastPInvokeError();
        _ = Unistd.Close(fd);
        return -errno;
    }

    /// <returns>the connection, or a negative errno</returns>
    internal static int Accept(int fd)
    {
        var connection = accept4(fd, null, null, SOCK_CLOEXEC);
        return connection >= 0 ? connection : -Marshal.GetLastPInvokeError();
    }

    /// <summary>Who connected.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Peer(int fd, out ucred peer)
    {
        fixed (ucred* target = &peer)
        {
            socklen_t length = sizeof(ucred);
            return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, target, &length) == 0 ? 0 : -Marshal.GetLastPInvokeError();
        }
    }

    /// <summary>Waits until the descriptor can be read or has ended.</summary>
    /// <param name="fd">any descriptor that poll(2) takes</param>
    /// <param name="milliseconds">negative: for ever</param>
    /// <returns>true when it is ready; false after the time, or on an error</returns>
    internal static bool WaitReadable(int fd, int milliseconds) => Wait(fd, POLLIN, milliseconds);

    /// <summary>Waits until the descriptor takes a short line without waiting, or has ended.</summary>
    /// <param name="fd">any descriptor that poll(2) takes</param>
    /// <param name="milliseconds">negative: for ever</param>
    /// <returns>true when it is ready; false after the time, or on an error</returns>
    internal static bool WaitWritable(int fd, int milliseconds) => Wait(fd, POLLOUT, milliseconds);

    private static bool Wait(int fd, short events, int milliseconds)
    {
        var deadline = Environment.TickCount64 + milliseconds;
        while (true)
        {
            var entry = new pollfd { fd = fd, events = events };
            var ready = Poll.Wait(&entry, 1, milliseconds);
            if (ready >= 0)
                return ready > 0;
            if (ready != -Errno.EINTR)
                return false;
            if (milliseconds >= 0)
                milliseconds = (int)Math.Max(0, deadline - Environment.TickCount64);
        }
    }

    /// <summary>Sends all bytes. A peer that is gone is an errno, and never a signal, whose handler may be a host program's.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int SendAll(int fd, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            long sent;
            fixed (byte* start = bytes)
                sent = send(fd, start, bytes.Length, MSG_NOSIGNAL);
            if (sent >= 0)
                bytes = bytes[(int)sent..];
            else if (Marshal.GetLastPInvokeError() is var errno and not Errno.EINTR)
                return -errno;
        }

        return 0;
    }

    /// <summary>Sends what there is room for, without waiting. No signal either.</summary>
    /// <returns>how many bytes, or a negative errno: -EAGAIN if there is no room</returns>
    internal static int TrySend(int fd, ReadOnlySpan<byte> bytes)
    {
        while (true)
        {
            long sent;
            fixed (byte* start = bytes)
                sent = send(fd, start, bytes.Length, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent >= 0)
                return (int)sent;
            if (Marshal.GetLastPInvokeError() is var errno and not Errno.EINTR)
                return -errno;
        }
    }

    /// <summary>Sends all bytes, and descriptors with the first of them.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int SendAll(int fd, ReadOnlySpan<byte> bytes, IReadOnlyList<int> descriptors)
    {
        if (descriptors.Count == 0)
            return SendAll(fd, bytes);
        if (descriptors.Count > MaxDescriptors)
            return -Errno.EINVAL;
        var control = stackalloc byte[ControlBytes];
        ((cmsghdr*)control)->cmsg_len = sizeof(cmsghdr) + (descriptors.Count * sizeof(int));
        ((cmsghdr*)control)->cmsg_level = SOL_SOCKET;
        ((cmsghdr*)control)->cmsg_type = SCM_RIGHTS;
        for (var i = 0; i < descriptors.Count; i++)
            ((int*)(control + sizeof(cmsghdr)))[i] = descriptors[i];
        long sent;
        fixed (byte* start = bytes)
        {
            var vector = new iovec { iov_base = start, iov_len = bytes.Length };
            var message = new msghdr
            {
                msg_iov = &vector,
                msg_iovlen = 1,
                msg_control = control,
                msg_controllen = sizeof(cmsghdr) + Aligned(descriptors.Count * sizeof(int)),
            };
            do
                sent = Poll.SendMessage(fd, &message, MSG_NOSIGNAL);
            while (sent == -Errno.EINTR);
        }
        // Descriptors are refused where too many are on their way (ETOOMANYREFS): the answer itself is worth more.
        return SendAll(fd, bytes[(int)Math.Max(sent, 0)..]);
    }

    /// <summary>Receives bytes and the descriptors that come with them, which are close-on-exec.</summary>
    /// <returns>how many bytes (0: the end), or a negative errno</returns>
    internal static int Receive(int fd, Span<byte> bytes, ICollection<int> descriptors)
    {
        var control = stackalloc byte[ControlBytes];
        long received;
        msghdr message;
        fixed (byte* start = bytes)
        {
            var vector = new iovec { iov_base = start, iov_len = bytes.Length };
            do
            {
                message = new msghdr { msg_iov = &vector, msg_iovlen = 1, msg_control = control, msg_controllen = ControlBytes };
                received = Poll.ReceiveMessage(fd, &message, MSG_CMSG_CLOEXEC);
            }
            while (received == -Errno.EINTR);
        }
        // Invariant: the kernel wrote whole headers, at multiples of their alignment, within msg_controllen.
        for (uint offset = 0; received >= 0 && offset + (uint)sizeof(cmsghdr) <= message.msg_controllen;)
        {
            var header = (cmsghdr*)(control + offset);
            if (header->cmsg_len < (uint)sizeof(cmsghdr) || header->cmsg_len > message.msg_controllen - offset)
                break;
            var count = header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS
                ? (int)(header->cmsg_len - (uint)sizeof(cmsghdr)) / sizeof(int) : 0;
            for (var i = 0; i < count; i++)
                descriptors.Add(((int*)(header + 1))[i]);
            offset += (uint)Aligned((int)header->cmsg_len);
        }

        return (int)received;
    }

    /// <summary>Sends one datagram, without waiting.</summary>
    /// <param name="path">a path; with a leading @ a name in the abstract namespace (unix(7))</param>
    /// <param name="bytes">its content</param>
    /// <returns>0 or a negative errno</returns>
    internal static int SendDatagram(string path, ReadOnlySpan<byte> bytes)
    {
        if (!TryAddress(path, out var address, out var length))
            return -Errno.EINVAL;
        if (address.sun_path[0] == (byte)'@')
        {
            address.sun_path[0] = 0;
            length--; // Every byte of such a name counts: no terminator.
        }

        var fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -Marshal.GetLastPInvokeError();
        fixed (byte* start = bytes)
        {
            long sent = sendto(fd, start, bytes.Length, MSG_DONTWAIT | MSG_NOSIGNAL, (sockaddr*)&address, length);
            var errno = Marshal.GetLastPInvokeError();
            _ = Unistd.Close(fd);
            return sent == bytes.Length ? 0 : -errno;
        }
    }

    private static int Aligned(int bytes) => (bytes + sizeof(nuint) - 1) & ~(sizeof(nuint) - 1);

    private static bool TryAddress(string path, out sockaddr_un address, out uint length)
    {
        address = default;
        address.sun_family = AF_UNIX;
        var bytes = Encoding.UTF8.GetByteCount(path);
        length = (uint)(sizeof(ushort) + bytes + 1);
        if (bytes is 0 or > 107)
            return false;
        fixed (byte* target = address.sun_path)
            Encoding.UTF8.GetBytes(path, new Span<byte>(target, 107));
        return true;
    }
}
