using System;
using System.IO;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Devices.Takeover;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A server says of its image what it has open, and its next one is told to open that and nothing else.</summary>
public sealed class OpenedImageTests : IDisposable
{
    private readonly StateFiles _files = new();

    public void Dispose() => _files.Dispose();

    [Fact]
    public void State_file_names_the_file_that_is_open_and_not_what_its_name_leads_to_since()
    {
        var record = Serve(_files.Device("web").Options, new FakeDevice("web", "/x") { OpenedAs = "7:8:9" }, out _);
        Assert.Equal("7:8:9", record.ImageIdentity);
    }

    [Fact]
    public void Next_server_is_told_which_file_the_one_before_had_open_and_keeps_that_to_itself()
    {
        var lost = _files.Device("web");
        _files.Dead(lost);
        var device = new FakeDevice("web", lost.Image) { DevicePath = lost.DevicePath };
        var record = Serve(Recovery.OptionsFor(lost), device, out var opened);
        Assert.Equal((lost.ImageIdentity, lost.DevicePath), (opened.OnlyImage, opened.RecoverDevice));
        Assert.Equal((null, null), (record.Options.OnlyImage, record.Options.RecoverDevice));
    }

    [Fact]
    public void Device_knows_the_file_that_it_has_open_by_its_number()
    {
        using var scene = new EngineScene();
        using var export = new FakeExport();
        var identity = Recovery.ImageIdentity(scene.Image);
        using var device = scene.Open(export);
        File.Move(scene.Image, scene.Image + ".moved");
        File.WriteAllText(scene.Image, "");
        Assert.Equal(identity, device.ImageIdentity);
        Assert.True(device.Detach(force: true, EngineScene.Patience).Succeeded);
    }

    /// <summary>What the state file says while a server serves the device.</summary>
    private DeviceRecord Serve(AttachOptions options, FakeDevice device, out AttachOptions opened)
    {
        var seen = options;
        var factory = new FakeFactory((asked, _) =>
        {
            seen = asked;
            return device;
        });
        using var server = DeviceServer.Start(options, factory, _files.Registry, new NoLog());
        opened = seen;
        return _files.Registry.Find("web")!.Record;
    }
}
