using System;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>sched.h and sys/mount.h: a mount namespace of our own.</summary>
internal static unsafe class Mounts
{
    /// <summary>Gives the calling thread, and what it spawns, a copy of its mount namespace.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Unshare() => Errno.Of(unshare(CLONE_NEWNS));

    /// <summary>Mounts and unmounts of the namespace that ours is a copy of still reach us; ours do not reach it.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int FollowOnly()
    {
        fixed (byte* none = "none"u8, root = "/"u8)
            return Errno.Of(mount(none, root, null, MS_REC | MS_SLAVE, null));
    }

    /// <summary>Takes a mount out of our namespace, used or not.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Detach(string target)
    {
        using var name = new CString(target, stackalloc byte[CString.Room]);
        return Errno.Of(umount2(name, MNT_DETACH));
    }
}
