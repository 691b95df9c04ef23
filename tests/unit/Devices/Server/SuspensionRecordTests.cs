using System;
using System.IO;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Devices.Takeover;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>
/// Whether a device is suspended stands in its state file: if its server dies, that decides whether another one goes on by itself.
/// </summary>
public sealed class SuspensionRecordTests : IDisposable
{
    private static readonly Outcome s_refused = Outcome.Refused(OutcomeKind.Failed, "cannot", "no");

    private readonly StateFiles _files = new();
    private readonly FakeDevice _device;
    private readonly DeviceServer _server;

    public SuspensionRecordTests()
    {
        var image = _files.Device("disk").Image;
        _device = new FakeDevice("disk", image) { DevicePath = "/dev/ublkb5" };
        _server = DeviceServer.Start(new AttachOptions { Image = image }, new FakeFactory((_, _) => _device), _files.Registry, new NoLog());
    }

    public void Dispose()
    {
        _server.Dispose();
        _device.Dispose();
        _files.Dispose();
    }

    private DeviceRecord Record => _files.Registry.Find("disk")!.Record;

    private Outcome Ask(ControlVerb verb)
    {
        using var client = ControlClient.TryConnect(_files.Registry.Directory, "disk")!;
        return client.Ask(new ControlRequest(verb, EngineScene.Patience, Force: false, AllowShrink: false)).Result;
    }

    /// <summary>What other commands do to a device besides what they were asked for.</summary>
    private void Becomes(DeviceState state) => _device.State = state;

    private void ReplaceImage()
    {
        File.WriteAllText($"{Record.Image}.new", "");
        File.Move($"{Record.Image}.new", Record.Image, overwrite: true);
    }

    [Fact]
    public void Suspend_is_noted_and_resume_takes_it_back()
    {
        Assert.False(Record.Suspended);
        Assert.True(Ask(ControlVerb.Suspend).Succeeded);
        Assert.True(Record.Suspended);
        Becomes(DeviceState.Running);
        Assert.True(Ask(ControlVerb.Resume).Succeeded);
        Assert.False(Record.Suspended);
    }

    [Fact]
    public void Resume_of_another_file_is_noted()
    {
        Ask(ControlVerb.Suspend);
        ReplaceImage();
        Assert.NotEqual(Recovery.ImageIdentity(Record.Image), Record.ImageIdentity);
        Becomes(DeviceState.Running);
        Ask(ControlVerb.Resume);
        Assert.Equal(Recovery.ImageIdentity(Record.Image), Record.ImageIdentity);
    }

    [Fact]
    public void Resume_of_a_device_that_runs_notes_no_file_that_it_has_not_opened()
    {
        var opened = Record.ImageIdentity;
        ReplaceImage();
        Assert.True(Ask(ControlVerb.Resume).Succeeded);
        Assert.Equal(opened, Record.ImageIdentity);
    }

    [Fact]
    public void Refused_hand_over_that_leaves_the_device_suspended_is_noted()
    {
        _device.RefuseHandOver = s_refused;
        Becomes(DeviceState.Suspended); // It was closed, and could not be opened again.
        Assert.Equal(s_refused, Ask(ControlVerb.HandOver));
        Assert.True(Record.Suspended);
    }

    [Fact]
    public void Refused_hand_over_of_a_device_that_goes_on_changes_nothing()
    {
        _device.RefuseHandOver = s_refused;
        var before = _server.Record;
        Assert.Equal(s_refused, Ask(ControlVerb.HandOver));
        Assert.Equal(before, _server.Record);
    }

    [Fact]
    public void Refused_detach_that_had_to_resume_the_device_takes_the_note_back()
    {
        Ask(ControlVerb.Suspend);
        ReplaceImage();
        _device.RefuseDetach = s_refused;
        Becomes(DeviceState.Running);
        Assert.Equal(s_refused, Ask(ControlVerb.Detach));
        Assert.False(Record.Suspended);
        Assert.Equal(Recovery.ImageIdentity(Record.Image), Record.ImageIdentity);
    }

    [Fact]
    public void Refused_detach_of_a_device_that_stays_suspended_keeps_the_note()
    {
        Ask(ControlVerb.Suspend);
        ReplaceImage();
        var attached = Record.ImageIdentity;
        _device.RefuseDetach = s_refused;
        Assert.Equal(s_refused, Ask(ControlVerb.Detach));
        Assert.Equal((true, attached), (Record.Suspended, Record.ImageIdentity));
    }
}
