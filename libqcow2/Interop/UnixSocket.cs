using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Qcow2Blk.Interop;

/// <summary>sys/un.h and the part of sys/socket.h that the control socket needs: blocking, close-on-exec.</summary>
internal static unsafe partial class UnixSocket
{
    internal const int AF_UNIX = 1;
    internal const int SOCK_STREAM = 1;
    internal const int SOCK_CLOEXEC = 0x80000;
    internal const int SOL_SOCKET = 1;
    internal const int SO_PEERCRED = 17;
    internal const int SHUT_RDWR = 2;
    internal const short POLLIN = 1;

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

    /// <returns>the socket, or a negative errno (-ECONNREFUSED: nobody listens there any more)</returns>
    internal static int Connect(string path)
    {
        if (!TryAddress(path, out SockaddrUn address, out uint length))
            return -Errno.EINVAL;
        int fd = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
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
