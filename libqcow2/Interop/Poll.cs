using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>poll(2), and the non-blocking socket calls that go with it.</summary>
internal static unsafe partial class Poll
{
    public const short POLLIN = 1;
    public const short POLLOUT = 4;
    public const short POLLERR = 8;
    public const short POLLHUP = 0x10;
    public const short POLLNVAL = 0x20;
    public const short POLLRDHUP = 0x2000;
    public const int MSG_DONTWAIT = 0x40;
    public const int SOCK_NONBLOCK = 0x800;

    /// <returns>how many descriptors are ready, or a negative errno</returns>
    public static int Wait(pollfd* descriptors, int count, int milliseconds) =>
        Errno.Of(PollCall(descriptors, (nuint)count, milliseconds));

    public static long Receive(int fd, void* buffer, nuint length, int flags) => Errno.Of((long)RecvCall(fd, buffer, length, flags));

    public static long ReceiveMessage(int fd, msghdr* message, int flags) => Errno.Of((long)RecvmsgCall(fd, message, flags));

    public static long SendMessage(int fd, msghdr* message, int flags) => Errno.Of((long)SendmsgCall(fd, message, flags));

    public static int Accept(int fd, int flags) => Errno.Of(Accept4Call(fd, null, null, flags));

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int PollCall(pollfd* descriptors, nuint count, int milliseconds);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    private static partial nint RecvCall(int fd, void* buffer, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    private static partial nint RecvmsgCall(int fd, msghdr* message, int flags);

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    private static partial nint SendmsgCall(int fd, msghdr* message, int flags);

    [LibraryImport("libc", EntryPoint = "accept4", SetLastError = true)]
    private static partial int Accept4Call(int fd, void* address, void* length, int flags);
}

[StructLayout(LayoutKind.Sequential)]
internal struct pollfd
{
    public int fd;
    public short events;
    public short revents;
}
