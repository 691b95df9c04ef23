using System;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices;

/// <summary>
/// Warns when a block device stays suspended so long that the kernel will soon report the programs that wait for it as hung
/// (kernel.hung_task_timeout_secs, 120 by default).
/// </summary>
/// <param name="loop">where the time passes</param>
/// <param name="warn">takes the warnings; on the loop</param>
/// <param name="limit">when the first warning comes; each further one comes after twice the time of the one before</param>
internal sealed class SuspensionWatch(EventLoop loop, Action<string> warn, TimeSpan limit)
{
    /// <summary>Half of what the kernel waits by default.</summary>
    public static readonly TimeSpan DefaultLimit = TimeSpan.FromSeconds(60);

    private int _suspension;

    /// <summary>The device is suspended from now on. Any thread, one command at a time.</summary>
    public void Begin()
    {
        var suspension = ++_suspension;
        loop.PostFromAnyThread(() => WarnLaterAsync(suspension).Forget());
    }

    /// <summary>It is not suspended any more.</summary>
    public void End() => _suspension++;

    private async LoopTask<int> WarnLaterAsync(int suspension)
    {
        var waited = TimeSpan.Zero;
        while (true)
        {
            var wait = waited == TimeSpan.Zero ? limit : waited;
            await loop.DelayAsync((int)Math.Min(wait.TotalMilliseconds, int.MaxValue));
            if (_suspension != suspension)
                return 0;
            waited += wait;
            warn($"suspended for {waited.TotalMinutes:0.###} min: programs that use the disk are blocked, and the kernel reports tasks"
                + $" as hung after 2 min; resume it, or detach it with --force");
        }
    }
}
