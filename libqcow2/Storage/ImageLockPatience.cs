using System;
using System.Diagnostics;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Storage;

/// <summary>
/// Takes image locks, and waits a while for those that nobody alive holds: after the death of a server the kernel ends the last
/// writes of its ring, and drops its locks, a moment after the process is gone. A holder that lives is refused at once.
/// </summary>
internal sealed class ImageLockPatience
{
    // Last writes take milliseconds on most disks, so the first looks come quickly; each refused look reads all of /proc.
    private const int FirstPauseMilliseconds = 10;
    private const int LongestPauseMilliseconds = 250;

    private readonly TimeSpan _limit;
    private readonly Action<string> _report;
    private TimeSpan _left;

    /// <param name="limit">how long all the locks together are waited for</param>
    /// <param name="report">told once that there is a wait, and for what</param>
    public ImageLockPatience(TimeSpan limit, Action<string> report)
    {
        (_limit, _left) = (limit, limit);
        _report = report;
    }

    /// <summary>How often a lock was waited for.</summary>
    internal int Pauses { get; private set; }

    /// <summary>Locks an image, as <see cref="ImageLock.Acquire"/>. On a loop.</summary>
    /// <param name="fd">open for reading at least; the locks live as long as its description</param>
    /// <param name="path">for messages</param>
    /// <param name="write">whether it will be written</param>
    /// <param name="besideWriter">read only what does not change while another writes</param>
    /// <exception cref="ImageLockedException">somebody is in the way; nothing is held</exception>
    /// <exception cref="System.IO.IOException">the file system cannot lock</exception>
    public async LoopTask<ImageLock> AcquireAsync(int fd, string path, bool write, bool besideWriter = false)
    {
        var pause = FirstPauseMilliseconds;
        while (true)
        {
            var started = Stopwatch.GetTimestamp();
            if (TryAcquire(fd, path, write, besideWriter) is { } taken)
                return taken;
            // The search for the holder counts too, and never takes more than half of the processor.
            var search = Stopwatch.GetElapsedTime(started);
            var wait = TimeSpan.FromMilliseconds(Math.Max(pause, (int)search.TotalMilliseconds));
            if (Pauses++ == 0)
            {
                _report($"{path} is locked, and no running process seems to hold the lock: waiting up to {_limit.TotalSeconds:0.#} s"
                    + " for the last writes of a server that died");
            }

            wait = wait < _left ? wait : _left;
            await LoopScheduler.Current.DelayAsync(Math.Max(1, (int)wait.TotalMilliseconds));
            _left -= wait + search;
            pause = Math.Min(pause * 2, LongestPauseMilliseconds);
        }
    }

    /// <returns>null if it is worth another try</returns>
    private ImageLock? TryAcquire(int fd, string path, bool write, bool besideWriter)
    {
        try
        {
            return ImageLock.Acquire(fd, path, write, besideWriter);
        }
        catch (ImageLockedException locked) when (!locked.HolderLives && _left > TimeSpan.Zero)
        {
            return null;
        }
        catch (ImageLockedException locked) when (!locked.HolderLives)
        {
            throw new ImageLockedException(path, new LockHolder(locked.Holder, Lives: false), locked.Conflict) { Waited = _limit };
        }
    }
}
