using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>sched.h and sys/mount.h: a mount namespace of our own.</summary>
internal static partial class Mounts
{
    internal const int CLONE_NEWNS = 0x00020000;
    internal const uint MS_REC = 0x4000;
    internal const uint MS_SLAVE = 1 << 19;
    internal const int MNT_DETACH = 2;

    [LibraryImport("libc", EntryPoint = "unshare", SetLastError = true)]
    private static partial int UnshareRaw(int flags);

    [LibraryImport("libc", EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MountRaw(string source, string target, nint type, nuint flags, nint data);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int UnmountRaw(string target, int flags);

    /// <summary>Gives the calling thread, and what it spawns, a copy of its mount namespace.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Unshare() => Errno.Of(UnshareRaw(CLONE_NEWNS));

    /// <summary>Mounts and unmounts of the namespace that ours is a copy of still reach us; ours do not reach it.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int FollowOnly() => Errno.Of(MountRaw("none", "/", 0, MS_REC | MS_SLAVE, 0));

    /// <summary>Takes a mount out of our namespace, used or not.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Detach(string target) => Errno.Of(UnmountRaw(target, MNT_DETACH));
}
