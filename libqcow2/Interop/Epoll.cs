using System.Runtime.InteropServices;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>epoll(7) and timerfd_create(2), as far as one descriptor is to stand for several.</summary>
internal static unsafe partial class Epoll
{
    internal const int CLOCK_MONOTONIC = 1;
    internal const int TFD_CLOEXEC = 0x80000;
    internal const int TFD_NONBLOCK = 0x800;

    /// <returns>a descriptor, or a negative errno</returns>
    public static int Create() => Errno.Of(epoll_create1(EPOLL_CLOEXEC));

    /// <summary>The descriptor <paramref name="epoll"/> is readable while this one is.</summary>
    /// <returns>0 or a negative errno</returns>
    public static int Add(int epoll, int fd)
    {
        epoll_event wanted = default;
        wanted.events = EPOLLIN;
        wanted.data.fd = fd;
        return Errno.Of(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted));
    }

    /// <returns>a descriptor, or a negative errno</returns>
    public static int CreateTimer() => Errno.Of(TimerCreate(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));

    /// <summary>Lets a timer's descriptor become readable once, and be unreadable until then.</summary>
    /// <param name="timer">of <see cref="CreateTimer"/></param>
    /// <param name="nanoseconds">from now on; negative for never</param>
    /// <returns>0 or a negative errno</returns>
    public static int SetTimer(int timer, long nanoseconds)
    {
        timer_setting setting = default;

        // Zero would mean never.
        if (nanoseconds == 0)
            nanoseconds = 1;
        if (nanoseconds > 0)
            (setting.seconds, setting.nanoseconds) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
        return Errno.Of(TimerSet(timer, 0, &setting, null));
    }

    [LibraryImport("libc", EntryPoint = "timerfd_create", SetLastError = true)]
    private static partial int TimerCreate(int clock, int flags);

    [LibraryImport("libc", EntryPoint = "timerfd_settime", SetLastError = true)]
    private static partial int TimerSet(int fd, int flags, timer_setting* setting, timer_setting* before);

    /// <summary>struct itimerspec, of 64-bit targets.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct timer_setting
    {
        public long interval_seconds;
        public long interval_nanoseconds;
        public long seconds;
        public long nanoseconds;
    }
}
