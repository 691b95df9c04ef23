using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace Qcow2Blk.Interop;

/// <summary>sys/un.h and the part of sys/socket.h that the control socket needs: blocking, close-on-exec.</summary>
internal static unsafe partial class UnixSocket
{
    internal const int AF_UNIX = 1;
    internal const int SOCK_STREAM = 1;
    internal const int SOCK_DGRAM = 2;
    internal const int SOCK_CLOEXEC = 0x80000;
    internal const int SOL_SOCKET = 1;
    internal const int SO_PEERCRED = 17;
    internal const int SHUT_RDWR = 2;
    internal const short POLLIN = 1;
    internal const int SCM_RIGHTS = 1;
    internal const int MSG_CMSG_CLOEXEC = 0x40000000;

    /// <summary>Two for each connection that a block device can have, and the kernel takes 253.</summary>
    internal const int MaxDescriptors = 64;

    private const int ControlBytes = 16 + (MaxDescriptors * sizeof(int));

    /// <summary>struct cmsghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Cmsghdr
    {
        internal nuint cmsg_len;
        internal int cmsg_level;
        internal int cmsg_type;
    }

    /// <summary>struct sockaddr_un.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct SockaddrUn
    {
        internal ushort sun_family;
        internal fixed byte sun_path[108];
    }

    /// <summary>struct ucred.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Ucred
    {
        internal int pid;
        internal uint uid;
        internal uint gid;
    }

    /// <summary>struct pollfd (poll.h).</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Pollfd
    {
        internal int fd;
        internal short events;
        internal short revents;
    }

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int Socket(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    private static partial int Bind(int fd, SockaddrUn* address, uint length);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    private static partial int ConnectRaw(int fd, SockaddrUn* address, uint length);

    [LibraryImport("libc", EntryPoint = "listen", SetLastError = true)]
    private static partial int Listen(int fd, int backlog);

    [LibraryImport("libc", EntryPoint = "accept4", SetLastError = true)]
    private static partial int Accept4(int fd, void* address, void* length, int flags);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    private static partial int ChangeMode(int fd, uint mode);

    [LibraryImport("libc", EntryPoint = "shutdown", SetLastError = true)]
    internal static partial int Shutdown(int fd, int how);

    [LibraryImport("libc", EntryPoint = "getsockopt", SetLastError = true)]
    private static partial int GetOption(int fd, int level, int option, void* value, uint* length);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(Pollfd* fds, nuint count, int milliseconds);

    [LibraryImport("libc", EntryPoint = "sendto", SetLastError = true)]
    private static partial nint SendTo(int fd, void* bytes, nuint count, int flags, SockaddrUn* address, uint length);

    /// <summary>Binds and listens; only the owner may connect.</summary>
    /// <returns>the socket, or a negative errno</returns>
    internal static int Serve(string path, int backlog)
    {
        if (!TryAddress(path, out SockaddrUn address, out uint length))
            return -Errno.EINVAL;
        int fd = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -Marshal.GetLastPInvokeError();
        // The mode of an unbound socket is the mode that bind gives to its file: it is never open to others.
        if (ChangeMode(fd, 0x180) == 0 && Bind(fd, &address, length) == 0 && Listen(fd, backlog) == 0)
            return fd;
        int errno = Marshal.GetLastPInvokeError();
        _ = Unistd.Close(fd);
        return -errno;
    }

    /// <param name="path">where somebody listens</param>
    /// <param name="wait">for a listener that has too many connections to accept; else the answer is -EAGAIN</param>
    /// <returns>the socket, or a negative errno (-ECONNREFUSED: nobody listens there any more)</returns>
    internal static int Connect(string path, bool wait = true)
    {
        if (!TryAddress(path, out SockaddrUn address, out uint length))
            return -Errno.EINVAL;
        int fd = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : Interop.Poll.SOCK_NONBLOCK), 0);
        if (fd < 0)
            return -Marshal.GetLastPInvokeError();
        if (ConnectRaw(fd, &address, length) == 0)
            return fd;
        int errno = Marshal.GetLastPInvokeError();
        _ = Unistd.Close(fd);
        return -errno;
    }

    /// <returns>the connection, or a negative errno</returns>
    internal static int Accept(int fd)
    {
        int connection = Accept4(fd, null, null, SOCK_CLOEXEC);
        return connection >= 0 ? connection : -Marshal.GetLastPInvokeError();
    }

    /// <summary>Who connected.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Peer(int fd, out Ucred peer)
    {
        fixed (Ucred* target = &peer)
        {
            uint length = (uint)sizeof(Ucred);
            return GetOption(fd, SOL_SOCKET, SO_PEERCRED, target, &length) == 0 ? 0 : -Marshal.GetLastPInvokeError();
        }
    }

    /// <summary>Waits until the descriptor can be read or has ended.</summary>
    /// <param name="fd">any descriptor that poll(2) takes</param>
    /// <param name="milliseconds">negative: for ever</param>
    /// <returns>true when it is ready; false after the time, or on an error</returns>
    internal static bool WaitReadable(int fd, int milliseconds)
    {
        long deadline = Environment.TickCount64 + milliseconds;
        while (true)
        {
            var entry = new Pollfd { fd = fd, events = POLLIN };
            int ready = Poll(&entry, 1, milliseconds);
            if (ready >= 0)
                return ready > 0;
            if (Marshal.GetLastPInvokeError() != Errno.EINTR)
                return false;
            if (milliseconds >= 0)
                milliseconds = (int)Math.Max(0, deadline - Environment.TickCount64);
        }
    }

    /// <summary>Sends all bytes, and descriptors with the first of them.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int SendAll(int fd, ReadOnlySpan<byte> bytes, IReadOnlyList<int> descriptors)
    {
        if (descriptors.Count == 0)
            return Unistd.WriteAll(fd, bytes);
        if (descriptors.Count > MaxDescriptors)
            return -Errno.EINVAL;
        byte* control = stackalloc byte[ControlBytes];
        ((Cmsghdr*)control)->cmsg_len = (nuint)(sizeof(Cmsghdr) + (descriptors.Count * sizeof(int)));
        ((Cmsghdr*)control)->cmsg_level = SOL_SOCKET;
        ((Cmsghdr*)control)->cmsg_type = SCM_RIGHTS;
        for (int i = 0; i < descriptors.Count; i++)
            ((int*)(control + sizeof(Cmsghdr)))[i] = descriptors[i];
        long sent;
        fixed (byte* start = bytes)
        {
            var vector = new iovec { iov_base = (nint)start, iov_len = (nuint)bytes.Length };
            var message = new msghdr
            {
                msg_iov = (nint)(&vector),
                msg_iovlen = 1,
                msg_control = (nint)control,
                msg_controllen = (nuint)(sizeof(Cmsghdr) + Aligned(descriptors.Count * sizeof(int))),
            };
            do
                sent = Interop.Poll.SendMessage(fd, &message, Sockets.MSG_NOSIGNAL);
            while (sent == -Errno.EINTR);
        }
        // Descriptors are refused where too many are on their way (ETOOMANYREFS): the answer itself is worth more.
        return Unistd.WriteAll(fd, bytes[(int)Math.Max(sent, 0)..]);
    }

    /// <summary>Receives bytes and the descriptors that come with them, which are close-on-exec.</summary>
    /// <returns>how many bytes (0: the end), or a negative errno</returns>
    internal static int Receive(int fd, Span<byte> bytes, ICollection<int> descriptors)
    {
        byte* control = stackalloc byte[ControlBytes];
        long received;
        msghdr message;
        fixed (byte* start = bytes)
        {
            var vector = new iovec { iov_base = (nint)start, iov_len = (nuint)bytes.Length };
            do
            {
                message = new msghdr { msg_iov = (nint)(&vector), msg_iovlen = 1, msg_control = (nint)control, msg_controllen = ControlBytes };
                received = Interop.Poll.ReceiveMessage(fd, &message, MSG_CMSG_CLOEXEC);
            }
            while (received == -Errno.EINTR);
        }
        // Invariant: the kernel wrote whole headers, at multiples of their alignment, within msg_controllen.
        for (nuint offset = 0; received >= 0 && offset + (nuint)sizeof(Cmsghdr) <= message.msg_controllen;)
        {
            var header = (Cmsghdr*)(control + offset);
            if (header->cmsg_len < (nuint)sizeof(Cmsghdr) || header->cmsg_len > message.msg_controllen - offset)
                break;
            int count = header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS ? (int)(header->cmsg_len - (nuint)sizeof(Cmsghdr)) / sizeof(int) : 0;
            for (int i = 0; i < count; i++)
                descriptors.Add(((int*)(header + 1))[i]);
            offset += (nuint)Aligned((int)header->cmsg_len);
        }
        return (int)received;
    }

    /// <summary>Sends one datagram, without waiting.</summary>
    /// <param name="path">a path; with a leading @ a name in the abstract namespace (unix(7))</param>
    /// <param name="bytes">its content</param>
    /// <returns>0 or a negative errno</returns>
    internal static int SendDatagram(string path, ReadOnlySpan<byte> bytes)
    {
        if (!TryAddress(path, out SockaddrUn address, out uint length))
            return -Errno.EINVAL;
        if (address.sun_path[0] == (byte)'@')
        {
            address.sun_path[0] = 0;
            length--; // Every byte of such a name counts: no terminator.
        }
        int fd = Socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -Marshal.GetLastPInvokeError();
        fixed (byte* start = bytes)
        {
            nint sent = SendTo(fd, start, (nuint)bytes.Length, Interop.Poll.MSG_DONTWAIT | Sockets.MSG_NOSIGNAL, &address, length);
            int errno = Marshal.GetLastPInvokeError();
            _ = Unistd.Close(fd);
            return sent == bytes.Length ? 0 : -errno;
        }
    }

    private static int Aligned(int bytes) => (bytes + sizeof(nuint) - 1) & ~(sizeof(nuint) - 1);

    private static bool TryAddress(string path, out SockaddrUn address, out uint length)
    {
        address = default;
        address.sun_family = AF_UNIX;
        int bytes = Encoding.UTF8.GetByteCount(path);
        length = (uint)(sizeof(ushort) + bytes + 1);
        if (bytes is 0 or > 107)
            return false;
        fixed (byte* target = address.sun_path)
            Encoding.UTF8.GetBytes(path, new Span<byte>(target, 107));
        return true;
    }
}
