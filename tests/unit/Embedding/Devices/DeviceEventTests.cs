using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Embedding.Devices;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Exports;
using Xunit;

namespace Qcow2Blk.Tests.Embedding.Devices;

/// <summary>What a program hears of a device, whoever does it to the device.</summary>
public sealed class DeviceEventTests : IDisposable
{
    private readonly EmbeddedScene _scene = new();
    private readonly EventList _events = new();

    public void Dispose() => _scene.Dispose();

    [Fact]
    public void Suspend_resume_and_detach_are_told_in_order_whoever_asked_for_them()
    {
        var device = _scene.Attach();
        Assert.True(device.SetEvents(_events.Add));
        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Running);
        Assert.True(device.Suspend(EmbeddedScene.Patience).Succeeded);
        Assert.True(_scene.Ask(ControlVerb.Resume).Succeeded);
        Assert.True(_scene.Ask(ControlVerb.Detach).Succeeded);

        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Ended);

        Assert.Equal(
            [
                EmbeddedState.Running, EmbeddedState.Suspending, EmbeddedState.Suspended, EmbeddedState.Running,
                EmbeddedState.Detaching, EmbeddedState.Ended,
            ],
            _events.States);
        Assert.Equal(6, _events.All.Count);
        device.Close();
    }

    [Fact]
    public void First_event_tells_the_state_of_the_moment()
    {
        var device = _scene.Attach();
        Assert.True(device.Suspend(EmbeddedScene.Patience).Succeeded);
        device.SetEvents(_events.Add);
        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Suspended);
        Assert.Single(_events.All);
        Assert.True(device.Detach(EmbeddedScene.Patience, force: false).Succeeded);
        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Ended);

        var late = new EventList();
        device.SetEvents(late.Add);
        late.WaitFor(DeviceEventKind.State, EmbeddedState.Ended);
        Assert.Single(late.All);
        device.Close();
    }

    [Fact]
    public async Task Former_handler_is_not_running_and_not_called_once_it_was_replaced()
    {
        var device = _scene.Attach();
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var returned = 0;
        var late = 0;
        device.SetEvents(_ =>
        {
            entered.Set();
            go.Wait();
            Thread.Sleep(20);
            late += Volatile.Read(ref returned);
        });
        Assert.True(entered.Wait(EmbeddedScene.Patience, TestContext.Current.CancellationToken));

        var setting = Task.Run(() => device.SetEvents(null), TestContext.Current.CancellationToken);
        await Task.Delay(50, TestContext.Current.CancellationToken);
        Assert.False(setting.IsCompleted);
        go.Set();
        Assert.True(await setting.WaitAsync(EmbeddedScene.Patience, TestContext.Current.CancellationToken));
        Volatile.Write(ref returned, 1);

        device.Suspend(EmbeddedScene.Patience);
        device.Resume(EmbeddedScene.Patience, allowShrink: false);
        device.Close();
        Assert.Equal(0, late);
    }

    [Fact]
    public async Task Handler_cannot_replace_itself_or_close_its_device_but_may_ask()
    {
        var device = _scene.Attach();
        var answers = new TaskCompletionSource<(bool, bool, bool, EmbeddedState)>(
            TaskCreationOptions.RunContinuationsAsynchronously);
        device.SetEvents(_ => answers.TrySetResult(
            (device.SetEvents(null), device.IsInHandler, device.Close().Succeeded, device.State())));

        var answer = await answers.Task.WaitAsync(EmbeddedScene.Patience, TestContext.Current.CancellationToken);

        Assert.Equal((false, true, false, EmbeddedState.Running), answer);
        Assert.False(device.IsInHandler);
        Assert.True(device.Close().Succeeded);
    }

    [Fact]
    public void Slow_handler_holds_up_neither_the_device_nor_its_end()
    {
        var device = _scene.Attach();
        using var go = new ManualResetEventSlim();
        device.SetEvents(_ => go.Wait());
        for (var i = 0; i < 20; i++)
        {
            Assert.True(device.Suspend(EmbeddedScene.Patience).Succeeded);
            Assert.True(device.Resume(EmbeddedScene.Patience, allowShrink: false).Succeeded);
        }

        Assert.True(device.Detach(EmbeddedScene.Patience, force: false).Succeeded);
        go.Set();
        device.Close();
    }

    [Fact]
    public void Requests_without_space_are_told_and_that_they_found_it()
    {
        var disk = new ScriptedDisk(16 << 20);
        var isFull = true;
        disk.Result = _ => Volatile.Read(ref isFull) ? -Errno.ENOSPC : 0;
        var device = Serve(disk, _scene.Options with { OnEnospc = EnospcPolicy.Stop });
        device.SetEvents(_events.Add);
        using var client = new NbdClient(_scene.Options.SocketPath!, extended: false);
        client.Begin(NbdClient.Write, 0, 512, payload: new byte[512]);
        client.Begin(NbdClient.Write, 8192, 512, payload: new byte[512]);

        _events.WaitFor(DeviceEventKind.NoSpace, EmbeddedState.Running, 2);
        Thread.Sleep(2500);
        Volatile.Write(ref isFull, false);
        Assert.Equal((0u, 0u), (client.Reply(), client.Reply()));
        _events.WaitFor(DeviceEventKind.NoSpace, EmbeddedState.Running, 0);

        var counts = _events.All.Where(what => what.Kind == DeviceEventKind.NoSpace).Select(what => what.Value).ToArray();
        Assert.True(counts is [2, 0] or [1, 2, 0], string.Join(", ", counts));
        device.Close();
    }

    [Fact]
    public void Corruption_that_a_request_finds_is_told_with_its_reason_and_the_state()
    {
        // An L2 table that is not at the start of a cluster: no such thing can be followed.
        Qcow2Blk.Tests.Shared.Qemu.Io(_scene.Image, "write 0 64k");
        var tables = L1Offset();
        using (var file = System.IO.File.OpenWrite(_scene.Image))
        {
            var table = new byte[8];
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(table, 0x8000_0000_0000_0201);
            file.Position = tables;
            file.Write(table);
        }

        var device = _scene.Attach();
        device.SetEvents(_events.Add);
        using (var client = new NbdClient(_scene.Options.SocketPath!, extended: false))
            Assert.NotEqual(0u, client.Do(NbdClient.Write, 0, 512, payload: new byte[512]));

        var corrupt = _events.WaitFor(what => what.Kind == DeviceEventKind.Corrupt);
        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Failed);

        Assert.Contains("is corrupt", corrupt.Message, StringComparison.Ordinal);
        Assert.Equal(EmbeddedState.Failed, corrupt.State);
        Assert.DoesNotContain(_events.All, what => what.Kind == DeviceEventKind.Error);
        device.Detach(EmbeddedScene.Patience, force: true);
        device.Close();
    }

    [Fact]
    public void What_only_the_log_says_is_an_event()
    {
        ILog? log = null;
        var device = Serve(new ScriptedDisk(1 << 20), _scene.Options, given => log = given);
        device.SetEvents(_events.Add);
        _events.WaitFor(DeviceEventKind.State, EmbeddedState.Running);
        log!.Warning("not this");
        log!.Error("cannot punch a hole");
        Assert.Equal("cannot punch a hole", _events.WaitFor(what => what.Kind == DeviceEventKind.Error).Message);
        Assert.Contains("cannot punch a hole", _scene.Log.Lines);
        Assert.Equal(2, _events.All.Count);
        device.Close();
    }

    /// <summary>Attaches a disk that has no image.</summary>
    private EmbeddedDevice Serve(IDisk disk, AttachOptions options, Action<ILog>? log = null)
    {
        var factory = new ScriptedFactory(disk, log);
        return EmbeddedDevice.Attach(options, _scene.Log, _scene.Place with { Factory = factory });
    }

    private long L1Offset()
    {
        var header = System.IO.File.ReadAllBytes(_scene.Image);
        return System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(header.AsSpan(40));
    }

    private sealed class ScriptedFactory(IDisk disk, Action<ILog>? log) : IDeviceFactory
    {
        public IDevice Open(AttachOptions options, string name, string? recoveryLog, ILog deviceLog) =>
            EngineDevice.Open(options, name, deviceLog, DeviceHost.This(null, (_, _) => 0) with
            {
                OpenDisk = (_, diskLog, _, _) =>
                {
                    log?.Invoke(diskLog);
                    return new LoopTask<(IDisk, IReadOnlyList<ChainLink>)>((disk, []));
                },
            });
    }
}
