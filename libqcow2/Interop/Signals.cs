using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>signal.h and sys/prctl.h: what a server does to its own process.</summary>
internal static unsafe partial class Signals
{
    internal const int SIGHUP = 1;
    internal const int SIGINT = 2;
    internal const int SIGPIPE = 13;
    internal const int SIGTERM = 15;
    internal const int PR_SET_NAME = 15;

    private const nint SIG_IGN = 1;

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint SetHandler(int signal, nint handler);

    [LibraryImport("libc", EntryPoint = "prctl", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ProcessControl(int option, string argument);

    /// <summary>A client that goes away is an errno, not the end of the process.</summary>
    internal static void IgnoreBrokenPipes() => _ = SetHandler(SIGPIPE, SIG_IGN);

    /// <summary>Names the calling thread; on the first thread that is the name ps(1) shows for the process.</summary>
    internal static void NameThread(string name) => _ = ProcessControl(PR_SET_NAME, name);
}
