using System;
using System.Diagnostics;
using System.IO;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Interop;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Numbers and layouts of the control plane's P/Invokes, compared by a C compiler with the system's headers.</summary>
public sealed class HeaderTests
{
    [Fact]
    public void Fcntl_is_the_systems() => AssertInC("fcntl.h",
        ("O_RDONLY", Fcntl.O_RDONLY), ("O_RDWR", Fcntl.O_RDWR), ("O_CREAT", Fcntl.O_CREAT), ("O_EXCL", Fcntl.O_EXCL),
        ("O_WRONLY", Fcntl.O_WRONLY), ("O_NOCTTY", Fcntl.O_NOCTTY), ("O_NONBLOCK", Fcntl.O_NONBLOCK), ("O_PATH", Fcntl.O_PATH),
        ("O_DIRECTORY", Fcntl.O_DIRECTORY), ("O_NOFOLLOW", Fcntl.O_NOFOLLOW),
        ("O_CLOEXEC", Fcntl.O_CLOEXEC), ("F_SETFD", Fcntl.F_SETFD), ("FD_CLOEXEC", Fcntl.FD_CLOEXEC),
        ("F_OFD_GETLK", Fcntl.F_OFD_GETLK), ("F_OFD_SETLK", Fcntl.F_OFD_SETLK), ("F_DUPFD_CLOEXEC", Fcntl.F_DUPFD_CLOEXEC),
        ("F_RDLCK", Fcntl.F_RDLCK), ("F_WRLCK", Fcntl.F_WRLCK), ("F_UNLCK", Fcntl.F_UNLCK), ("SEEK_SET", Fcntl.SEEK_SET),
        ("sizeof(struct flock)", Unsafe.SizeOf<Fcntl.Flock>()),
        ("offsetof(struct flock, l_type)", Offset<Fcntl.Flock>("l_type")),
        ("offsetof(struct flock, l_whence)", Offset<Fcntl.Flock>("l_whence")),
        ("offsetof(struct flock, l_start)", Offset<Fcntl.Flock>("l_start")),
        ("offsetof(struct flock, l_len)", Offset<Fcntl.Flock>("l_len")),
        ("offsetof(struct flock, l_pid)", Offset<Fcntl.Flock>("l_pid")));

    [Fact]
    public void Sockets_are_the_systems() => AssertInC("sys/socket.h>\n#include <sys/un.h>\n#include <poll.h",
        ("AF_UNIX", UnixSocket.AF_UNIX), ("SOCK_STREAM", UnixSocket.SOCK_STREAM), ("SOCK_CLOEXEC", UnixSocket.SOCK_CLOEXEC),
        ("SOL_SOCKET", UnixSocket.SOL_SOCKET), ("SO_PEERCRED", UnixSocket.SO_PEERCRED), ("SHUT_RDWR", UnixSocket.SHUT_RDWR),
        ("POLLIN", UnixSocket.POLLIN),
        ("sizeof(struct sockaddr_un)", Unsafe.SizeOf<UnixSocket.SockaddrUn>()),
        ("offsetof(struct sockaddr_un, sun_path)", Offset<UnixSocket.SockaddrUn>("sun_path")),
        ("sizeof(struct ucred)", Unsafe.SizeOf<UnixSocket.Ucred>()),
        ("offsetof(struct ucred, uid)", Offset<UnixSocket.Ucred>("uid")),
        ("sizeof(struct pollfd)", Unsafe.SizeOf<UnixSocket.Pollfd>()),
        ("offsetof(struct pollfd, events)", Offset<UnixSocket.Pollfd>("events")),
        ("offsetof(struct pollfd, revents)", Offset<UnixSocket.Pollfd>("revents")));

    [Fact]
    public void Statx_is_the_kernels() => AssertInC("fcntl.h>\n#include <sys/stat.h",
        ("AT_FDCWD", Stat.AT_FDCWD), ("AT_EMPTY_PATH", Stat.AT_EMPTY_PATH), ("AT_SYMLINK_NOFOLLOW", Stat.AT_SYMLINK_NOFOLLOW),
        ("STATX_BASIC_STATS", Stat.STATX_BASIC_STATS), ("S_IFMT", Stat.S_IFMT), ("S_IFDIR", Stat.S_IFDIR), ("S_IFBLK", Stat.S_IFBLK),
        ("S_IFREG", Stat.S_IFREG), ("S_IFSOCK", Stat.S_IFSOCK), ("STATX_BTIME", Stat.STATX_BTIME),
        ("offsetof(struct statx, stx_btime.tv_sec)", Offset<Stat.Statx>("stx_btime_sec")),
        ("offsetof(struct statx, stx_btime.tv_nsec)", Offset<Stat.Statx>("stx_btime_nsec")),
        ("sizeof(struct statx)", Unsafe.SizeOf<Stat.Statx>()),
        ("offsetof(struct statx, stx_nlink)", Offset<Stat.Statx>("stx_nlink")),
        ("offsetof(struct statx, stx_uid)", Offset<Stat.Statx>("stx_uid")),
        ("offsetof(struct statx, stx_mode)", Offset<Stat.Statx>("stx_mode")),
        ("offsetof(struct statx, stx_ino)", Offset<Stat.Statx>("stx_ino")),
        ("offsetof(struct statx, stx_size)", Offset<Stat.Statx>("stx_size")),
        ("offsetof(struct statx, stx_blocks)", Offset<Stat.Statx>("stx_blocks")),
        ("offsetof(struct statx, stx_dev_major)", Offset<Stat.Statx>("stx_dev_major")),
        ("offsetof(struct statx, stx_dev_minor)", Offset<Stat.Statx>("stx_dev_minor")));

    [Fact]
    public void Bsd_locks_are_the_systems() => AssertInC("sys/file.h", ("LOCK_SH", BsdLock.LOCK_SH));

    [Fact]
    public void Spawn_is_the_systems() => AssertInC("spawn.h>\n#include <signal.h>\n#include <sys/syscall.h",
        ("POSIX_SPAWN_SETSIGDEF", Spawn.POSIX_SPAWN_SETSIGDEF), ("POSIX_SPAWN_SETSIGMASK", Spawn.POSIX_SPAWN_SETSIGMASK),
        ("POSIX_SPAWN_SETSID", Spawn.POSIX_SPAWN_SETSID), ("SYS_pidfd_open", Spawn.SYS_pidfd_open), ("SYS_pidfd_send_signal", Spawn.SYS_pidfd_send_signal),
        ("sizeof(posix_spawn_file_actions_t)", Spawn.FileActionsSize), ("sizeof(posix_spawnattr_t)", Spawn.AttributesSize),
        ("sizeof(sigset_t)", Spawn.SignalSetSize));

    [Fact]
    public void Mount_namespaces_are_the_systems() => AssertInC("sched.h>\n#include <sys/mount.h",
        ("CLONE_NEWNS", Mounts.CLONE_NEWNS), ("MS_REC", Mounts.MS_REC), ("MS_SLAVE", Mounts.MS_SLAVE), ("MNT_DETACH", Mounts.MNT_DETACH));

    [Fact]
    public void Signals_and_syslog_are_the_systems() => AssertInC("signal.h>\n#include <sys/prctl.h>\n#include <syslog.h",
        ("SIGHUP", Signals.SIGHUP), ("SIGINT", Signals.SIGINT), ("SIGKILL", Signals.SIGKILL), ("SIGPIPE", Signals.SIGPIPE), ("SIGTERM", Signals.SIGTERM),
        ("PR_SET_NAME", Signals.PR_SET_NAME), ("LOG_PID", Syslog.LOG_PID), ("LOG_DAEMON", Syslog.LOG_DAEMON),
        ("LOG_ERR", Syslog.LOG_ERR), ("LOG_WARNING", Syslog.LOG_WARNING), ("LOG_INFO", Syslog.LOG_INFO), ("LOG_DEBUG", Syslog.LOG_DEBUG));

    private static long Offset<T>(string field) => Marshal.OffsetOf<T>(field);

    private static void AssertInC(string header, params (string Expression, long Value)[] facts)
    {
        var source = new StringWriter();
        source.WriteLine("#define _GNU_SOURCE\n#include <stddef.h>\n#include <errno.h>");
        source.WriteLine($"#include <{header}>");
        foreach ((string expression, long value) in facts)
            source.WriteLine($"_Static_assert((long long)({expression}) == {value}LL, \"{expression} is not {value}\");");
        var start = new ProcessStartInfo("cc", ["-std=c11", "-fsyntax-only", "-x", "c", "-"]) { RedirectStandardInput = true, RedirectStandardError = true };
        using Process compiler = Process.Start(start)!;
        compiler.StandardInput.Write(source);
        compiler.StandardInput.Close();
        string errors = compiler.StandardError.ReadToEnd();
        compiler.WaitForExit();
        Assert.True(compiler.ExitCode == 0, errors);
    }
}
