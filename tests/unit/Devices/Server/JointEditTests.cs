using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>Two devices are edited at one instant over their control sockets: both or none, and their requests go on in any case.</summary>
public sealed class JointEditTests : IDisposable
{
    private readonly TempDirectory _runtime = new();
    private readonly EngineScene[] _scenes = [new(), new()];
    private readonly FakeExport[] _exports = [new() { DevicePath = null }, new() { DevicePath = null }];
    private readonly RuntimeDirectory _directory;
    private readonly DeviceServer[] _servers;

    public JointEditTests()
    {
        _directory = RuntimeDirectory.At(_runtime.File("run"));
        _servers = [.. Enumerable.Range(0, 2).Select(i => DeviceServer.Start(
            new AttachOptions { Image = _scenes[i].Image, SocketPath = $"/run/{i}.sock", Name = $"disk{i}" },
            new FakeFactory((_, _) => _scenes[i].Open(_exports[i])), new DeviceRegistry(_directory), new NoLog()))];
    }

    public void Dispose()
    {
        for (var i = 0; i < 2; i++)
        {
            _exports[i].Stuck = false;
            _servers[i].Finish();
            _servers[i].Dispose();
            _exports[i].Dispose();
            _scenes[i].Dispose();
        }

        _runtime.Dispose();
    }

    [Fact]
    public async Task Both_have_the_checkpoint_and_go_on()
    {
        Assert.All(await CreateAsync("monday"), outcome => Assert.True(outcome.Succeeded, outcome.Why));
        Assert.Equal(["monday", "monday"], [Listed(0), Listed(1)]);
        Assert.False(_exports[0].Held || _exports[1].Held);
    }

    [Fact]
    public async Task One_that_refuses_leaves_the_other_without()
    {
        Assert.True(Ask(1, ControlVerb.Edit, Checkpoint("create", "monday")).Succeeded);
        var outcomes = await CreateAsync("monday");
        Assert.All(outcomes, outcome => Assert.Contains("already", outcome.Why));
        Assert.All(outcomes, outcome => Assert.Null(outcome.Note));
        Assert.Equal(["", "monday"], [Listed(0), Listed(1)]);
        Assert.False(_exports[0].Held || _exports[1].Held);
    }

    [Fact]
    public async Task One_whose_requests_do_not_end_leaves_both_without()
    {
        _exports[1].Stuck = true;
        var outcomes = await CreateAsync("monday", seconds: 0.2);
        Assert.Contains(outcomes, outcome => !outcome.Succeeded);
        _exports[1].Stuck = false;
        Assert.Equal(["", ""], [Listed(0), Listed(1)]);
        Assert.False(_exports[0].Held || _exports[1].Held);
    }

    [Fact]
    public void Requests_go_on_when_whoever_holds_them_goes()
    {
        using (var client = ControlClient.TryConnect(_directory, "disk0")!)
        {
            Assert.True(client.Ask(Request(ControlVerb.Hold)).Result.Succeeded);
            Assert.True(_exports[0].Held);
        }

        Assert.True(SpinWait.SpinUntil(() => !_exports[0].Held, EngineScene.Patience));
        Assert.Equal("", Listed(0));
    }

    [Fact]
    public void Requests_are_not_held_for_ever()
    {
        using var client = ControlClient.TryConnect(_directory, "disk0")!;
        Assert.True(client.Ask(Request(ControlVerb.Hold)).Result.Succeeded);
        Assert.True(SpinWait.SpinUntil(() => !_exports[0].Held, EngineScene.Patience));
        Assert.Contains("held for too long", client.Ask(Request(ControlVerb.Edit, Checkpoint("create", "late"))).Result.Why);
        Assert.Contains("went on", client.Ask(Request(ControlVerb.Release)).Result.Why);
        Assert.Equal("", Listed(0));
    }

    [Fact]
    public void Release_without_hold_is_refused() => Assert.Equal(OutcomeKind.Invalid, Ask(0, ControlVerb.Release, null).Kind);

    private async Task<IReadOnlyList<Outcome>> CreateAsync(string name, double seconds = 30)
    {
        using var first = ControlClient.TryConnect(_directory, "disk0")!;
        using var second = ControlClient.TryConnect(_directory, "disk1")!;
        return await new JointEdit(
            [first, second], Checkpoint("create", name), Checkpoint("delete", name), TimeSpan.FromSeconds(seconds)).RunAsync();
    }

    private static ImageEdit Checkpoint(string action, string name) =>
        new($"checkpoint-{action}", new Dictionary<string, string> { ["name"] = name });

    private static ControlRequest Request(ControlVerb verb, ImageEdit? edit = null) =>
        new(verb, EngineScene.Patience, Force: false, AllowShrink: false, Options: edit?.Arguments, Edit: edit?.Name);

    private Outcome Ask(int disk, ControlVerb verb, ImageEdit? edit)
    {
        using var client = ControlClient.TryConnect(_directory, $"disk{disk}")!;
        return client.Ask(Request(verb, edit)).Result;
    }

    private string Listed(int disk)
    {
        var json = Ask(disk, ControlVerb.Edit, new ImageEdit("checkpoint-list", new Dictionary<string, string>())).Json!;
        var checkpoints = JsonDocument.Parse(json).RootElement.EnumerateArray();
        return string.Join(' ', checkpoints.Select(found => found.GetProperty("name").GetString()));
    }
}
