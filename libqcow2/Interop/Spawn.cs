using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>spawn.h and sys/wait.h: child processes without forking a managed process.</summary>
internal static unsafe partial class Spawn
{
    internal const short POSIX_SPAWN_SETSIGDEF = 0x04;
    internal const short POSIX_SPAWN_SETSIGMASK = 0x08;
    internal const short POSIX_SPAWN_SETSID = 0x80;

    /// <summary>At least sizeof(posix_spawn_file_actions_t) and sizeof(posix_spawnattr_t) of glibc.</summary>
    internal const int FileActionsSize = 80;
    internal const int AttributesSize = 336;

    /// <summary>pidfd_open(2); the number is the same on every architecture.</summary>
    internal const int SYS_pidfd_open = 434;

    /// <summary>pidfd_send_signal(2); the number is the same on every architecture.</summary>
    internal const int SYS_pidfd_send_signal = 424;

    [LibraryImport("libc", EntryPoint = "posix_spawn", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int PosixSpawn(int* pid, string path, void* actions, void* attributes, byte** argv, byte** envp);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_init")]
    private static partial int ActionsInit(void* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_destroy")]
    private static partial int ActionsDestroy(void* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_adddup2")]
    private static partial int ActionsAddDup2(void* actions, int from, int to);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addclosefrom_np")]
    private static partial int ActionsAddCloseFrom(void* actions, int first);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_init")]
    private static partial int AttributesInit(void* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_destroy")]
    private static partial int AttributesDestroy(void* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setflags")]
    private static partial int AttributesSetFlags(void* attributes, short flags);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigdefault")]
    private static partial int AttributesSetDefault(void* attributes, sigset_t* signals);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigmask")]
    private static partial int AttributesSetMask(void* attributes, sigset_t* signals);

    [LibraryImport("libc", EntryPoint = "waitpid", SetLastError = true)]
    private static partial int WaitRaw(int pid, int* status, int options);

    /// <returns>0, or -1 with the last error set</returns>
    internal static int Kill(int pid, int signal) => kill(pid, signal);

    /// <summary>What a child begins with. Descriptors that are not given are closed; every signal has its default action.</summary>
    internal readonly ref struct Child
    {
        internal required string Path { get; init; }

        /// <summary>argv, the program's name first.</summary>
        internal required IReadOnlyList<string> Arguments { get; init; }

        /// <summary>NAME=VALUE; null passes ours on.</summary>
        internal required IReadOnlyList<string> Environment { get; init; }

        /// <summary>Our descriptors that become the child's 0, 1, 2, …; each must be out of that range or in its place.</summary>
        internal required ReadOnlySpan<int> Descriptors { get; init; }

        /// <summary>Leave our session and terminal.</summary>
        internal bool NewSession { get; init; }
    }

    /// <returns>the process, or a negative errno</returns>
    internal static int Start(in Child child)
    {
        var actions = stackalloc byte[FileActionsSize];
        var attributes = stackalloc byte[AttributesSize];
        sigset_t none, all;
        _ = ActionsInit(actions);
        _ = AttributesInit(attributes);
        _ = sigemptyset(&none);
        _ = sigfillset(&all);
        var argv = Strings(child.Arguments);
        var envp = Strings(child.Environment);
        try
        {
            for (var i = 0; i < child.Descriptors.Length; i++)
                _ = ActionsAddDup2(actions, child.Descriptors[i], i);
            _ = ActionsAddCloseFrom(actions, child.Descriptors.Length);
            var flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | (child.NewSession ? POSIX_SPAWN_SETSID : 0);
            _ = AttributesSetFlags(attributes, (short)flags);
            _ = AttributesSetDefault(attributes, &all);
            _ = AttributesSetMask(attributes, &none);
            int pid;
            var error = PosixSpawn(&pid, child.Path, actions, attributes, argv, envp);
            return error == 0 ? pid : -error;
        }
        finally
        {
            _ = ActionsDestroy(actions);
            _ = AttributesDestroy(attributes);
            FreeStrings(argv, child.Arguments.Count);
            FreeStrings(envp, child.Environment.Count);
        }
    }

    /// <summary>Waits for a child's end.</summary>
    /// <returns>its exit status as a shell tells it: 128 + the signal that ended it; or a negative errno</returns>
    internal static int Wait(int pid)
    {
        int status;
        while (WaitRaw(pid, &status, 0) < 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            if (errno != Errno.EINTR)
                return -errno;
        }

        var signal = status & 0x7f;
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal;
    }

    /// <summary>A descriptor that becomes readable when the process ends.</summary>
    /// <returns>the descriptor, or a negative errno</returns>
    internal static int OpenProcess(int pid) => Errno.Of((int)syscall(SYS_pidfd_open, pid, 0));

    /// <summary>Signals the process that <see cref="OpenProcess"/> opened, and never another one of its number.</summary>
    /// <returns>0 or a negative errno; -ESRCH if it has ended</returns>
    internal static int Signal(int process, int signal) =>
        Errno.Of((int)syscall(SYS_pidfd_send_signal, process, signal, 0, 0));

    private static byte** Strings(IReadOnlyList<string> values)
    {
        var list = (byte**)NativeMemory.AllocZeroed((nuint)(values.Count + 1), (nuint)sizeof(byte*));
        for (var i = 0; i < values.Count; i++)
        {
            var bytes = Encoding.UTF8.GetByteCount(values[i]);
            list[i] = (byte*)NativeMemory.AllocZeroed((nuint)bytes + 1);
            Encoding.UTF8.GetBytes(values[i], new Span<byte>(list[i], bytes));
        }

        return list;
    }

    private static void FreeStrings(byte** list, int count)
    {
        for (var i = 0; i < count; i++)
            NativeMemory.Free(list[i]);
        NativeMemory.Free(list);
    }
}
