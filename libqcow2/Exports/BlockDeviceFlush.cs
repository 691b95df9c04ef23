using System;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports;

/// <summary>
/// Writes down what the page cache holds for a block device that nobody uses any more, and keeps others from beginning to
/// use it until it is gone. Every step that may wait for the device has a time limit.
/// </summary>
/// <remarks>
/// A call that was given up still holds the node open until the device answers or goes: end the device before the
/// process, or the process cannot end.
/// </remarks>
internal static class BlockDeviceFlush
{
    private const string ThreadName = "qcow2blk-flush";

    /// <summary>Claims a device and writes its page cache down. While the claim is held, mounting fails.</summary>
    /// <param name="path">the device node</param>
    /// <param name="readOnly">the device takes no writes, so there is nothing to write down</param>
    /// <param name="timeout">how long all of it may take</param>
    /// <returns>the claim, a descriptor for <see cref="Release"/>; or a negative errno: -EBUSY if it is in use, -ETIMEDOUT</returns>
    internal static int Claim(string path, bool readOnly, TimeSpan timeout) =>
        TimedCall.Run(ThreadName, () => OpenAndSync(path, readOnly), timeout, CloseIfOpen);

    /// <summary>Lets a claim go. Closing waits for the device if there is something left to write.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Release(int claim, TimeSpan timeout) =>
        TimedCall.Run(ThreadName, () => Files.Close(claim), timeout);

    /// <summary>Writes down what can be, of a device that somebody else holds.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Sync(string path, TimeSpan timeout) =>
        timeout <= TimeSpan.Zero ? -Errno.ETIMEDOUT : TimedCall.Run(ThreadName, () => SyncShared(path), timeout);

    /// <summary>Opens a device and closes it again: the kernel looks for partitions then.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Open(string path, TimeSpan timeout) =>
        TimedCall.Run(ThreadName, () => OpenAndClose(path, 0), timeout);

    /// <summary>Whether a device could be claimed.</summary>
    /// <returns>0 or a negative errno, -EBUSY if somebody holds it</returns>
    internal static int Try(string path, TimeSpan timeout) =>
        TimedCall.Run(ThreadName, () => OpenAndClose(path, O_EXCL), timeout);

    private static int OpenAndSync(string path, bool readOnly)
    {
        // Reading is enough for a sync; and udev takes the end of a description that may write for a change, and looks.
        var fd = Files.Open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
        if (fd < 0 || readOnly)
            return fd;
        var error = Files.Sync(fd);
        if (error == 0)
            return fd;
        Files.Close(fd);
        return error;
    }

    private static int SyncShared(string path)
    {
        var fd = Files.Open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return fd;
        var error = Files.Sync(fd);
        Files.Close(fd);
        return error;
    }

    private static int OpenAndClose(string path, int flags)
    {
        var fd = Files.Open(path, O_RDONLY | O_CLOEXEC | flags);
        return fd < 0 ? fd : Files.Close(fd);
    }

    private static void CloseIfOpen(int fd)
    {
        if (fd >= 0)
            Files.Close(fd);
    }
}
