using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>
/// When a suspended device warns, on a real loop. Silence is proved by order: timers of one loop run in the order in which they are
/// due, so what a later one does not find was not said.
/// </summary>
public sealed class SuspensionWatchTests : IDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromMilliseconds(60); // 0.001 minutes
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly OffloadPool _pool = new(1);
    private readonly EventLoop _loop;
    private readonly SuspensionWatch _watch;
    private readonly List<(string Text, TimeSpan After)> _warnings = [];
    private readonly SemaphoreSlim _warned = new(0);
    private long _begun;

    /// <summary>Runs in the loop's thread with each warning.</summary>
    private Action<int> _onWarning = _ => { };

    public SuspensionWatchTests()
    {
        _loop = new EventLoop(0, _pool);
        _loop.Start();
        _watch = new SuspensionWatch(_loop, Note, s_limit);
    }

    public void Dispose()
    {
        _loop.Dispose();
        _pool.Dispose();
        _warned.Dispose();
    }

    private void Note(string warning)
    {
        _warnings.Add((warning, Stopwatch.GetElapsedTime(_begun)));
        _onWarning(_warnings.Count);
        _warned.Release();
    }

    private void Begin()
    {
        _begun = Stopwatch.GetTimestamp();
        _watch.Begin();
    }

    private void WaitForWarnings(int count)
    {
        for (var i = 0; i < count; i++)
            Assert.True(_warned.Wait(s_patience, TestContext.Current.CancellationToken), $"warning {i + 1} did not come");
    }

    /// <summary>How many warnings there were when a timer fires that was started after all that was asked before.</summary>
    private int WarningsWhenPassed(TimeSpan delay)
    {
        using var passed = new ManualResetEventSlim();
        var count = -1;
        _loop.PostFromAnyThread(() => LookAsync().Forget());
        Assert.True(passed.Wait(s_patience, TestContext.Current.CancellationToken));
        return count;

        async LoopTask<int> LookAsync()
        {
            await _loop.DelayAsync((int)delay.TotalMilliseconds);
            count = _warnings.Count;
            passed.Set();
            return 0;
        }
    }

    [Fact]
    public void Warning_comes_after_the_limit_and_says_what_to_do()
    {
        Begin();
        WaitForWarnings(1);
        _watch.End();
        Assert.Equal(
            "suspended for 0.001 min: programs that use the disk are blocked, and the kernel reports tasks as hung after 2 min; resume"
                + " it, or detach it with --force",
            _warnings[0].Text);
        Assert.True(_warnings[0].After >= s_limit, $"after {_warnings[0].After}");
    }

    [Fact]
    public void Further_warnings_come_each_after_twice_the_time_of_the_one_before()
    {
        _onWarning = count =>
        {
            if (count == 4)
                _watch.End();
        };
        Begin();
        WaitForWarnings(4);
        Assert.Equal(["0.001", "0.002", "0.004", "0.008"], _warnings.Select(warning => warning.Text.Split(' ')[2]));
        Assert.All(_warnings,
            (warning, index) => Assert.True(warning.After >= s_limit * (1 << index), $"warning {index + 1} after {warning.After}"));
    }

    [Fact]
    public void Device_that_was_resumed_in_time_is_not_warned_of()
    {
        Begin();
        _watch.End();
        Assert.Equal(0, WarningsWhenPassed(s_limit));
    }

    [Fact]
    public void Device_that_was_resumed_after_a_warning_is_not_warned_of_again()
    {
        _onWarning = _ => _watch.End();
        Begin();
        WaitForWarnings(1);
        Assert.Equal(1, WarningsWhenPassed(s_limit));
    }

    [Fact]
    public void Suspension_that_follows_another_is_warned_of_once_from_its_own_beginning()
    {
        Begin();
        _watch.End();
        Begin();
        Assert.Equal(1, WarningsWhenPassed(s_limit));
        _watch.End();
        Assert.Contains("0.001", _warnings[0].Text, StringComparison.Ordinal);
        Assert.True(_warnings[0].After >= s_limit, $"after {_warnings[0].After}");
    }
}
