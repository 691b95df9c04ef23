using System.Diagnostics;
using System.IO;
using Qcow2Blk.Interop;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Numbers and layouts of the control plane's P/Invokes, compared by a C compiler with the system's headers.</summary>
public sealed class HeaderTests
{
    [Fact]
    public void Ioctl_of_sockets_is_the_systems() => AssertInC("sys/ioctl.h>\n#include <linux/sockios.h", ("SIOCOUTQ", Sockets.SIOCOUTQ));

    [Fact]
    public void Bsd_locks_are_the_systems() => AssertInC("sys/file.h", ("LOCK_SH", BsdLock.LOCK_SH));

    [Fact]
    public void Spawn_is_the_systems() => AssertInC("spawn.h>\n#include <sys/syscall.h",
        ("POSIX_SPAWN_SETSIGDEF", Spawn.POSIX_SPAWN_SETSIGDEF), ("POSIX_SPAWN_SETSIGMASK", Spawn.POSIX_SPAWN_SETSIGMASK),
        ("POSIX_SPAWN_SETSID", Spawn.POSIX_SPAWN_SETSID), ("SYS_pidfd_open", Spawn.SYS_pidfd_open),
        ("SYS_pidfd_send_signal", Spawn.SYS_pidfd_send_signal),
        ("sizeof(posix_spawn_file_actions_t)", Spawn.FileActionsSize), ("sizeof(posix_spawnattr_t)", Spawn.AttributesSize));

    [Fact]
    public void Thread_names_and_syslog_are_the_systems() => AssertInC("sys/prctl.h>\n#include <syslog.h",
        ("PR_SET_NAME", Signals.PR_SET_NAME), ("LOG_PID", Syslog.LOG_PID), ("LOG_DAEMON", Syslog.LOG_DAEMON),
        ("LOG_ERR", Syslog.LOG_ERR), ("LOG_WARNING", Syslog.LOG_WARNING), ("LOG_INFO", Syslog.LOG_INFO), ("LOG_DEBUG", Syslog.LOG_DEBUG));

    [Fact]
    public unsafe void Timers_are_the_systems() => AssertInC("sys/timerfd.h>\n#include <time.h",
        ("CLOCK_MONOTONIC", Epoll.CLOCK_MONOTONIC), ("TFD_CLOEXEC", Epoll.TFD_CLOEXEC), ("TFD_NONBLOCK", Epoll.TFD_NONBLOCK),
        ("sizeof(struct itimerspec)", sizeof(Epoll.timer_setting)), ("offsetof(struct itimerspec, it_value)", 16));

    [Fact]
    public void Inotify_is_the_systems() => AssertInC("sys/inotify.h",
        ("IN_CLOEXEC", Inotify.IN_CLOEXEC), ("IN_NONBLOCK", Inotify.IN_NONBLOCK), ("IN_MOVED_TO", Inotify.IN_MOVED_TO),
        ("IN_CREATE", Inotify.IN_CREATE), ("IN_DELETE", Inotify.IN_DELETE), ("IN_DELETE_SELF", Inotify.IN_DELETE_SELF),
        ("IN_ONLYDIR", Inotify.IN_ONLYDIR));

    private static void AssertInC(string header, params (string Expression, long Value)[] facts)
    {
        var source = new StringWriter();
        source.WriteLine("#define _GNU_SOURCE\n#include <stddef.h>\n#include <errno.h>");
        source.WriteLine($"#include <{header}>");
        foreach ((var expression, var value) in facts)
            source.WriteLine($"_Static_assert((long long)({expression}) == {value}LL, \"{expression} is not {value}\");");
        var start = new ProcessStartInfo("cc", ["-std=c11", "-fsyntax-only", "-x", "c", "-"])
        {
            RedirectStandardInput = true,
            RedirectStandardError = true
        };
        using var compiler = Process.Start(start)!;
        compiler.StandardInput.Write(source);
        compiler.StandardInput.Close();
        var errors = compiler.StandardError.ReadToEnd();
        compiler.WaitForExit();
        Assert.True(compiler.ExitCode == 0, errors);
    }
}
