using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>
/// A device that was attached to be mounted, or whose end was asked for while it had users: it goes with the last of them.
/// </summary>
public sealed class DetachWhenUnusedTests : IDisposable
{
    private const string Mounted = "mounted on /mnt";

    private readonly StateFiles _files = new();
    private readonly string _image;

    public DetachWhenUnusedTests() => _image = _files.Device("disk").Image;

    public void Dispose() => _files.Dispose();

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private DeviceServer Start(FakeDevice device, bool whenUnused) => DeviceServer.Start(
        new AttachOptions { Image = _image, DetachWhenUnused = whenUnused }, new FakeFactory((_, _) => device), _files.Registry,
        new NoLog());

    private FakeDevice Device(string? user) => new("disk", _image) { DevicePath = "/dev/ublkb5", User = user };

    private DeviceRecord Record => _files.Registry.Find("disk")!.Record;

    private Outcome DetachLazily()
    {
        using var client = ControlClient.TryConnect(_files.Registry.Directory, "disk")!;
        return client.Ask(
            new ControlRequest(ControlVerb.Detach, EngineScene.Patience, Force: false, AllowShrink: false, Lazy: true)).Result;
    }

    private static async Task<bool> EndsWithin(DeviceServer server, TimeSpan time)
    {
        await Task.WhenAny(server.Ended, Task.Delay(time, Cancelled));
        return server.Ended.IsCompleted;
    }

    [Fact]
    public async Task Mounted_device_runs_until_its_user_is_gone()
    {
        using var device = Device(Mounted);
        using var server = Start(device, whenUnused: true);
        Assert.False(await EndsWithin(server, TimeSpan.FromSeconds(1.5)));
        Assert.Equal((DeviceState.Running, null), (device.State, device.History.DetachWaitsFor));
        device.User = null;
        Assert.True(await EndsWithin(server, EngineScene.Patience));
        Assert.Equal(DeviceState.Detaching, device.State);
    }

    [Fact]
    public async Task Device_that_has_had_no_user_yet_waits_for_its_first_one()
    {
        using var device = Device(null);
        using var server = Start(device, whenUnused: true);
        Assert.False(await EndsWithin(server, TimeSpan.FromSeconds(1.5)));
        device.User = Mounted;
        Assert.False(await EndsWithin(server, TimeSpan.FromSeconds(1.5)));
        device.User = null;
        Assert.True(await EndsWithin(server, EngineScene.Patience));
    }

    [Fact]
    public async Task Device_attached_for_other_ends_stays_when_its_user_is_gone()
    {
        using var device = Device(Mounted);
        using var server = Start(device, whenUnused: false);
        device.User = null;
        Assert.False(await EndsWithin(server, TimeSpan.FromSeconds(1.5)));
    }

    /// <summary>A server that died forgot that it was to end: its device would have stayed for good.</summary>
    [Fact]
    public void Lazy_detach_stands_in_the_state_file_and_is_passed_to_the_next_server()
    {
        using var device = Device(Mounted);
        using var server = Start(device, whenUnused: false);
        Assert.False(Record.Options.DetachWhenUnused);
        Assert.True(DetachLazily().Succeeded);
        Assert.True(Record.Options.DetachWhenUnused);
        Assert.True(AttachOptionTable.OfNextServer(Record.Options).DetachWhenUnused);
        Assert.Equal(Mounted, device.History.DetachWaitsFor);
    }

    /// <summary>The umount helper asks, whether there is a second mount or not.</summary>
    [Fact]
    public void Mounted_device_that_is_asked_to_end_lazily_is_not_shown_as_ending()
    {
        using var device = Device(Mounted);
        using var server = Start(device, whenUnused: true);
        Assert.Contains(Mounted, DetachLazily().Note);
        Assert.Null(device.History.DetachWaitsFor);
    }
}
