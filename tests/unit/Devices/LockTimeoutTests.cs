using System;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Whatever opens an image for a device waits for the last writes of a dead server, says so, and takes no for an answer.</summary>
public sealed class LockTimeoutTests : IDisposable
{
    private readonly EngineScene _scene = new();
    private readonly FakeExport _export = new();

    /// <summary>Longer than any machine takes: what has to end in time ends because the lock was let go.</summary>
    private AttachOptions Patient => _scene.Options with { LockTimeout = 60 };

    private bool Waits => _scene.Log.Lines.Any(line => line.Contains("waiting up to", StringComparison.Ordinal));

    public void Dispose() => _scene.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Attach_and_recovery_wait_for_the_lock_of_the_dead(bool recover)
    {
        using var dead = new DeadHolder(_scene.Image);
        LetGoOnceWaitedFor(dead);

        using var device = _scene.Open(_export, Patient with { RecoverDevice = recover ? _export.DevicePath : null });

        Assert.True(Waits);
        Assert.Equal(DeviceState.Running, device.State);
        device.Detach(force: true, EngineScene.Patience);
    }

    [Fact]
    public void Resume_waits_for_the_lock_of_the_dead_as_long_as_it_is_told()
    {
        using var device = _scene.Open(_export);
        Assert.Equal(Outcome.Done(), device.Suspend(EngineScene.Patience));
        using var dead = new DeadHolder(_scene.Image);

        var refused = device.Resume(allowShrink: false, EngineScene.Patience, TimeSpan.Zero);

        Assert.Equal((OutcomeKind.Busy, DeviceState.Suspended), (refused.Kind, device.State));
        Assert.False(Waits);
        LetGoOnceWaitedFor(dead);
        Assert.Equal(Outcome.Done(), device.Resume(allowShrink: false, EngineScene.Patience, TimeSpan.FromMinutes(10)));
        Assert.True(Waits);
        device.Detach(force: true, EngineScene.Patience);
    }

    [Fact]
    public void Attach_that_waited_in_vain_says_what_may_hold_the_lock_and_what_helps()
    {
        using var dead = new DeadHolder(_scene.Image);

        var refused = Assert.Throws<OutcomeException>(() => _scene.Open(_export, _scene.Options with { LockTimeout = 1 }));

        Assert.Equal(OutcomeKind.Busy, refused.Kind);
        Assert.Equal("image is in use by another process: it lets nobody else write the image", refused.Why);
        Assert.Contains("waited 1 s", refused.Hint);
        Assert.Contains("--lock-timeout", refused.Hint);
    }

    [Fact]
    public void Living_holder_is_refused_however_long_a_dead_one_would_be_waited_for()
    {
        using var holder = _scene.Open(_export);

        var refused = Assert.Throws<OutcomeException>(() => _scene.Open(new FakeExport(), Patient));

        Assert.Contains("in use by this process", refused.Why);
        Assert.False(Waits);
        holder.Detach(force: true, EngineScene.Patience);
    }

    [Theory]
    [InlineData(null, null, 5)]
    [InlineData(null, "/dev/nbd0", 20)]
    [InlineData(0, null, 0)]
    [InlineData(7, "/dev/nbd0", 7)]
    public void Time_is_what_was_asked_for_and_more_where_users_of_a_device_wait(int? asked, string? recover, int seconds) =>
        Assert.Equal(
            TimeSpan.FromSeconds(seconds), (_scene.Options with { LockTimeout = asked, RecoverDevice = recover }).EffectiveLockTimeout);

    private void LetGoOnceWaitedFor(DeadHolder dead) => Task.Run(() =>
    {
        SpinWait.SpinUntil(() => Waits, EngineScene.Patience);
        dead.LetGo();
    });
}
