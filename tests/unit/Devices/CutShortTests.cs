using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Exports;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A command that is cut short ends at once, as if its time were over, and leaves a device that a forced detach can end.</summary>
public sealed class CutShortTests : IDisposable
{
    private static readonly TimeSpan s_short = TimeSpan.FromMilliseconds(50);

    private readonly FakeDisk _disk = new();
    private readonly FakeExport _export = new() { DevicePath = null };
    private readonly ManualResetEventSlim _storage = new();
    private readonly TaskCompletionSource _hangs = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _cut = new();
    private readonly EngineScene _scene;
    private readonly EngineDevice _device;

    public CutShortTests()
    {
        _scene = new EngineScene { OpenDisk = (_, _, _, _) => new LoopTask<(IDisk, IReadOnlyList<ChainLink>)>((_disk, [])) };
        _device = _scene.Open(_export);
    }

    public void Dispose()
    {
        _storage.Set();
        _device.Detach(force: true, EngineScene.Patience);
        _device.Dispose();
        _export.Dispose();
        _scene.Dispose();
        _storage.Dispose();
        _cut.Dispose();
    }

    /// <summary>The storage does not answer this call until it is told to.</summary>
    private void Hang(string what) => _disk.Answer = call =>
    {
        if (call != what)
            return 0;
        _hangs.TrySetResult();
        _storage.Wait();
        return 0;
    };

    private async Task<Outcome> SuspendAndCut()
    {
        var suspend = _device.SuspendAsync(EngineScene.Patience, _cut.Token);
        await _hangs.Task;
        await _cut.CancelAsync();
        return await suspend.WaitAsync(EngineScene.Patience);
    }

    [Fact]
    public async Task Suspend_that_drains_is_undone()
    {
        _export.Stuck = true;
        _hangs.SetResult();

        Assert.False((await SuspendAndCut()).Succeeded);

        Assert.Equal((DeviceState.Running, false), (_device.State, _export.Held));
        Assert.Empty(_disk.Calls);
        _export.Stuck = false;
    }

    [Fact]
    public async Task Suspend_whose_flush_hangs_is_undone()
    {
        Hang("flush");

        Assert.False((await SuspendAndCut()).Succeeded);

        Assert.Equal((DeviceState.Running, false), (_device.State, _export.Held));
    }

    [Fact]
    public async Task Forced_detach_waits_for_a_close_that_ends_in_time_and_loses_nothing()
    {
        Hang("close");
        Assert.False((await SuspendAndCut()).Succeeded);
        Assert.Equal((DeviceState.Suspended, true), (_device.State, _export.Held));

        var detach = _device.DetachAsync(force: true, EngineScene.Patience, TestContext.Current.CancellationToken);
        Assert.False(detach.IsCompleted, "nobody knows yet whether the image is closed");
        _storage.Set();

        Assert.Equal(Outcome.Done(), await detach);
        Assert.Equal(["flush", "close"], _disk.Calls);
    }

    [Fact]
    public async Task Forced_detach_says_what_may_be_lost_where_the_close_does_not_end()
    {
        Hang("close");
        await SuspendAndCut();

        var detached = await _device.DetachAsync(force: true, s_short, TestContext.Current.CancellationToken);

        Assert.True(detached.Succeeded);
        Assert.Contains("still in progress", detached.Note, StringComparison.Ordinal);
    }
}
