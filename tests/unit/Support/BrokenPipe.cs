using System;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Threading;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Support;

/// <summary>
/// Whether what a thread does raises SIGPIPE, which ends a program that has not ignored it. It is raised for the very thread that writes,
/// and one that is blocked stays pending even where it is ignored, as the runtime of these tests does.
/// </summary>
internal static unsafe partial class BrokenPipe
{
    [LibraryImport("libc", EntryPoint = "pthread_sigmask")]
    private static partial int ChangeMask(int how, sigset_t* signals, sigset_t* old);

    [LibraryImport("libc", EntryPoint = "sigpending")]
    private static partial int Pending(sigset_t* signals);

    public static bool IsRaisedBy(Action action)
    {
        var raised = false;
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            sigset_t signals;
            _ = sigemptyset(&signals);
            _ = sigaddset(&signals, SIGPIPE);
            _ = ChangeMask(SIG_BLOCK, &signals, null);
            try
            {
                action();
            }
            catch (Exception error)
            {
                failure = ExceptionDispatchInfo.Capture(error);
            }

            _ = Pending(&signals);
            raised = sigismember(&signals, SIGPIPE) == 1;
        });
        thread.Start();
        thread.Join();
        failure?.Throw();
        return raised;
    }
}
