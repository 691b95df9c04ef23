using System;
using System.Threading;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>
/// The device nodes of a ublk device. devtmpfs or udev make them, a moment after the kernel made the device, and udev
/// sets their owner another moment later: they are waited for. Where neither serves /dev they never come: qcow2blk
/// makes no device nodes.
/// </summary>
internal static class UblkNodes
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private const int FirstPauseMilliseconds = 1;
    private const int LongestPauseMilliseconds = 50;

    /// <summary>Where the server serves.</summary>
    public static string CharacterPath(int device) => $"/dev/ublkc{device}";

    /// <summary>Where the users use.</summary>
    public static string BlockPath(int device) => $"/dev/ublkb{device}";

    /// <summary>Opens <c>/dev/ublkcN</c> as its server.</summary>
    /// <returns>a descriptor, or a negative errno: what the last of many attempts said</returns>
    public static int OpenCharacter(int device, TimeSpan? timeout = null)
    {
        var path = CharacterPath(device);
        // EBUSY: the one before, whose descriptor is still being closed.
        return Retry(() => Files.Open(path, O_RDWR | O_CLOEXEC), timeout ?? Patience, retryBusy: true);
    }

    /// <summary>Waits until <c>/dev/ublkbN</c> is a block device.</summary>
    /// <returns>0, or -ENOENT if it did not come in time</returns>
    public static int WaitForBlock(int device, TimeSpan? timeout = null) => WaitForBlock(BlockPath(device), timeout ?? Patience);

    /// <summary>Waits until <c>/dev/ublkcN</c> is gone, as after DEL_DEV: the next device of that number must not meet it.</summary>
    /// <returns>0, or -EBUSY if it is still there</returns>
    public static int WaitForEnd(int device, TimeSpan? timeout = null)
    {
        var path = CharacterPath(device);
        return Retry(() => Stat.OfPath(path, out _) == -Errno.ENOENT ? 0 : -Errno.EBUSY, timeout ?? Patience, retryBusy: true);
    }

    internal static int WaitForBlock(string path, TimeSpan timeout) => Retry(
        () =>
        {
            var result = Stat.OfPath(path, out var node);
            return result < 0 ? result : node.IsBlockDevice ? 0 : -Errno.ENOENT;
        },
        timeout,
        retryBusy: false);

    /// <summary>Tries until it works, fails for good, or the time is over.</summary>
    internal static int Retry(Func<int> attempt, TimeSpan timeout, bool retryBusy)
    {
        var deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        var pause = FirstPauseMilliseconds;
        while (true)
        {
            var result = attempt();
            var comes = result is -Errno.ENOENT or -Errno.EACCES or -Errno.EINTR || (retryBusy && result == -Errno.EBUSY);
            if (!comes || Environment.TickCount64 >= deadline)
                return result;
            Thread.Sleep(pause);
            pause = Math.Min(pause * 2, LongestPauseMilliseconds);
        }
    }
}
