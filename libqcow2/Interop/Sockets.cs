using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>The few direct calls of <c>sys/socket.h</c> around those of the ring.</summary>
internal static unsafe class Sockets
{
    /// <summary>linux/sockios.h; the same number as TIOCOUTQ.</summary>
    internal const int SIOCOUTQ = 0x5411;

    public static int SetOption(int fd, int level, int name, int value) =>
        Errno.Of(setsockopt(fd, level, name, &value, sizeof(int)));

    /// <summary>Two connected unix stream sockets that do not survive exec.</summary>
    /// <returns>0 or a negative errno</returns>
    public static int Pair(out int first, out int second)
    {
        var ends = stackalloc int[2];
        var result = Errno.Of(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        (first, second) = result < 0 ? (-1, -1) : (ends[0], ends[1]);
        return result;
    }

    /// <summary>What was sent on a unix socket and not received by its other end (unix(7), SIOCOUTQ), in bytes of kernel memory.</summary>
    /// <returns>the bytes, or a negative errno</returns>
    public static int Unreceived(int fd)
    {
        int bytes;
        var error = Errno.Of(ioctl(fd, SIOCOUTQ, &bytes));
        return error < 0 ? error : bytes;
    }

    public static int Shutdown(int fd, int how) => Errno.Of(shutdown(fd, how));
}
