using System;
using System.Collections.Generic;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>Options that change while the device is attached, over its control socket.</summary>
public sealed class SetCommandTests : IDisposable
{
    private readonly TempDirectory _runtime = new();
    private readonly RuntimeDirectory _directory;
    private readonly DeviceRegistry _registry;
    private readonly FakeDevice _device = new("disk", "/data/disk.qcow2") { OpenedAs = "1:2" };
    private readonly DeviceServer _server;

    public SetCommandTests()
    {
        _directory = RuntimeDirectory.At(_runtime.File("run"));
        _registry = new DeviceRegistry(_directory);
        var options = new AttachOptions
        {
            Image = "/data/disk.qcow2",
            SocketPath = "/run/x.sock",
            Name = "disk",
            Limits = new LimitRates { Requests = 10 },
        };
        _server = DeviceServer.Start(options, new FakeFactory((_, _) => _device), _registry, new NoLog());
    }

    public void Dispose()
    {
        _server.Finish();
        _server.Dispose();
        _runtime.Dispose();
    }

    [Fact]
    public void What_is_set_holds_at_once_and_for_every_next_server()
    {
        Assert.True(Set(("read-iops", "200"), ("bandwidth", "3M"), ("burst", "1.5")).Result.Succeeded);

        var expected = new LimitRates { Requests = 10, Reads = 200, Bytes = 3 << 20, BurstSeconds = 1.5 };
        Assert.Equal(expected, _device.Applied!.Limits);
        Assert.Equal(expected, _registry.Resolve("disk").Record.Options.Limits);
    }

    [Fact]
    public void Nought_takes_a_limit_away()
    {
        Assert.True(Set(("iops", "0"), ("bandwidth", "0")).Result.Succeeded);
        Assert.Equal(default, _device.Applied!.Limits);
    }

    [Theory]
    [InlineData("iops", "many")]
    [InlineData("iops", "-1")]
    [InlineData("iops", "10000001")]
    [InlineData("bandwidth", "4095")]
    [InlineData("write-bandwidth", "2T")]
    [InlineData("burst", "0.01")]
    [InlineData("burst", "nan")]
    [InlineData("read-only", "true")]
    [InlineData("image", "/etc/shadow")]
    [InlineData("no-such", "1")]
    public void Of_what_cannot_be_set_nothing_is(string name, string text)
    {
        var reply = Set(("read-iops", "200"), (name, text));

        Assert.Equal((false, OutcomeKind.Invalid), (reply.Result.Succeeded, reply.Result.Kind));
        Assert.Contains(name, reply.Result.Why, StringComparison.Ordinal);
        Assert.Null(_device.Applied);
        Assert.Equal(new LimitRates { Requests = 10 }, _registry.Resolve("disk").Record.Options.Limits);
    }

    [Theory]
    [InlineData("""{"verb":"set","options":1}""", "options is not an object")]
    [InlineData("""{"verb":"set","options":{"iops":null}}""", "options.iops is null")]
    [InlineData("""{"verb":"set","options":{"iops":"1","iops":"2"}}""", "options.iops is there twice")]
    public void A_request_that_is_not_one_is_refused(string line, string why)
    {
        var error = Assert.Throws<JsonException>(() => ControlRequest.Parse(Encoding.UTF8.GetBytes(line)));
        Assert.Contains(why, error.Message, StringComparison.Ordinal);
    }

    private ControlReply Set(params (string Name, string Text)[] changes)
    {
        var options = new Dictionary<string, string>();
        foreach ((var name, var text) in changes)
            options.Add(name, text);
        using var client = ControlClient.TryConnect(_directory, "disk")!;
        return client.Ask(new ControlRequest(ControlVerb.Set, TimeSpan.FromSeconds(10), Force: false, AllowShrink: false,
            Options: options));
    }
}
