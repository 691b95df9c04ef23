using System.Runtime.InteropServices;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>signal.h and sys/prctl.h: what a server does to its own process.</summary>
internal static unsafe partial class Signals
{
    internal const int PR_SET_NAME = 15;

    // signal(7), the numbers of x86 and ARM.
    private static readonly string?[] s_names =
    [
        null, "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
        "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint SetHandler(int signal, nint handler);

    [LibraryImport("libc", EntryPoint = "prctl", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ProcessControl(int option, string argument);

    // The package takes it from libpthread.so.0, which new systems have for old programs only.
    [LibraryImport("libc", EntryPoint = "pthread_sigmask")]
    private static partial int ChangeMask(int how, sigset_t* signals, sigset_t* old);

    /// <summary>The name of a signal as kill(1) takes it; null if the number has none.</summary>
    internal static string? NameOf(int signal) => signal >= 0 && signal < s_names.Length ? s_names[signal] : null;

    /// <summary>Lets the calling thread take no signal that other threads can take: for one that stays in a system call.</summary>
    internal static void BlockAll()
    {
        sigset_t all;
        _ = sigfillset(&all);
        _ = ChangeMask(SIG_BLOCK, &all, null);
    }

    /// <summary>Stops this process until a shell continues it.</summary>
    internal static void StopSelf() => _ = kill(getpid(), SIGSTOP);

    /// <summary>A client that goes away is an errno, not the end of the process.</summary>
    internal static void IgnoreBrokenPipes() => _ = SetHandler(SIGPIPE, (nint)SIG_IGN);

    /// <summary>Names the calling thread; on the first thread that is the name ps(1) shows for the process.</summary>
    internal static void NameThread(string name) => _ = ProcessControl(PR_SET_NAME, name);
}
