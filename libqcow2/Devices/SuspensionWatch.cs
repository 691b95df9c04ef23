using System;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices;

/// <summary>
/// Warns when a block device stays suspended so long that the kernel will soon report the programs that wait for it as hung
/// (kernel.hung_task_timeout_secs, 120 by default).
/// </summary>
internal sealed class SuspensionWatch(EventLoop loop, Action<string> warn)
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(60);

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
        for (var minutes = 1; ; minutes *= 2)
        {
            await loop.DelayAsync((int)(s_limit.TotalMilliseconds * (minutes == 1 ? 1 : minutes / 2)));
            if (_suspension != suspension)
                return 0;
            warn($"suspended for {minutes} min: programs that use the disk are blocked, and the kernel reports tasks as hung after 2 min; resume it, or detach it with --force");
        }
    }
}
