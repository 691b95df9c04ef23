using System;
using System.IO;

namespace Qcow2Blk.Tests.Interop;

/// <summary>qemu's lock of an image, as the kernel tells of it.</summary>
internal static class ImageLock
{
    /// <summary>Waits until another program has locked this file. A qemu-img that asks would lock the file itself for a moment, and the
    /// program that is waited for would give up just then.</summary>
    public static void WaitUntilTaken(string image)
    {
        var inode = Run.Program("stat", "-c", ":%i ", image).Passed().Output.Trim('\n');
        Deadline.Until(() => File.ReadAllText("/proc/locks").Contains(inode, StringComparison.Ordinal), $"{image} is locked");
    }
}
