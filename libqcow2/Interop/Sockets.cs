using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>Structures of <c>sys/socket.h</c> and <c>sys/uio.h</c> that the ring takes, and the few direct calls around them.</summary>
internal static unsafe partial class Sockets
{
    public const int SOL_SOCKET = 1;
    public const int SO_SNDBUF = 7;
    public const int SO_RCVBUF = 8;
    public const int SO_SNDBUFFORCE = 32;
    public const int SO_RCVBUFFORCE = 33;
    public const int IPPROTO_TCP = 6;
    public const int SO_KEEPALIVE = 9;
    public const int TCP_NODELAY = 1;
    public const int TCP_KEEPIDLE = 4;
    public const int TCP_KEEPINTVL = 5;
    public const int TCP_KEEPCNT = 6;
    public const int TCP_USER_TIMEOUT = 18;
    public const int SHUT_RDWR = 2;
    public const int MSG_NOSIGNAL = 0x4000;
    public const int MSG_WAITALL = 0x100;

    private const nuint SIOCOUTQ = 0x5411;

    public static int SetOption(int fd, int level, int name, int value) =>
        Errno.Of(SetsockoptCall(fd, level, name, &value, sizeof(int)));

    /// <summary>Two connected unix stream sockets that do not survive exec.</summary>
    /// <returns>0 or a negative errno</returns>
    public static int Pair(out int first, out int second)
    {
        var ends = stackalloc int[2];
        var result = Errno.Of(SocketpairCall(UnixSocket.AF_UNIX, UnixSocket.SOCK_STREAM | UnixSocket.SOCK_CLOEXEC, 0, ends));
        (first, second) = result < 0 ? (-1, -1) : (ends[0], ends[1]);
        return result;
    }

    /// <summary>What was sent on a unix socket and not received by its other end (unix(7), SIOCOUTQ), in bytes of kernel memory.</summary>
    /// <returns>the bytes, or a negative errno</returns>
    public static int Unreceived(int fd)
    {
        int bytes;
        var error = Errno.Of(IoctlCall(fd, SIOCOUTQ, &bytes));
        return error < 0 ? error : bytes;
    }

    public static int Shutdown(int fd, int how) => Errno.Of(ShutdownCall(fd, how));

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int IoctlCall(int fd, nuint request, int* argument);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    private static partial int SetsockoptCall(int fd, int level, int name, void* value, uint length);

    [LibraryImport("libc", EntryPoint = "socketpair", SetLastError = true)]
    private static partial int SocketpairCall(int family, int type, int protocol, int* ends);

    [LibraryImport("libc", EntryPoint = "shutdown", SetLastError = true)]
    private static partial int ShutdownCall(int fd, int how);
}

[StructLayout(LayoutKind.Sequential)]
internal struct iovec
{
    public nint iov_base;
    public nuint iov_len;
}

[StructLayout(LayoutKind.Sequential)]
internal struct msghdr
{
    public nint msg_name;
    public uint msg_namelen;
    public nint msg_iov;
    public nuint msg_iovlen;
    public nint msg_control;
    public nuint msg_controllen;
    public int msg_flags;
}
