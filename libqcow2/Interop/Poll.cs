using System.Runtime.InteropServices;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>poll(2), and the non-blocking socket calls that go with it.</summary>
internal static unsafe partial class Poll
{
    /// <returns>how many descriptors are ready, or a negative errno</returns>
    public static int Wait(pollfd* descriptors, int count, int milliseconds) =>
        Errno.Of(PollCall(descriptors, (nuint)count, milliseconds));

    public static long Receive(int fd, void* buffer, nuint length, int flags) =>
        Errno.Of((long)recv(fd, buffer, (size_t)(ulong)length, flags));

    public static long ReceiveMessage(int fd, msghdr* message, int flags) => Errno.Of((long)recvmsg(fd, message, flags));

    public static long SendMessage(int fd, msghdr* message, int flags) => Errno.Of((long)sendmsg(fd, message, flags));

    public static int Accept(int fd, int flags) => Errno.Of(accept4(fd, null, null, flags));

    // The package's poll keeps no errno.
    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int PollCall(pollfd* descriptors, nuint count, int milliseconds);
}
