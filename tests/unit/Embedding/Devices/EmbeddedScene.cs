using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Embedding.Devices;
using Qcow2Blk.Logging;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Shared;

namespace Qcow2Blk.Tests.Embedding.Devices;

/// <summary>A program with devices: a runtime directory and an image of one test's own.</summary>
internal sealed class EmbeddedScene : IDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly TempDirectory _directory = new();

    public EmbeddedScene()
    {
        Image = File("disk.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", Image, "16M");
        Registry = new DeviceRegistry(RuntimeDirectory.At(File("run"))) { NodeExists = _ => HasNodes };
        Registry.Directory.Ensure();
        Options = new AttachOptions { Image = Image, SocketPath = File("nbd"), Cache = CacheMode.Writeback, Queues = 1 };
        Place = new EmbeddedPlace
        {
            Registry = Registry,
            Factory = new EngineDeviceFactory(() => (_, _) => throw new InvalidOperationException("there is no ublk device here")),
            Command = () => throw new InvalidOperationException("there is no block device here"),
        };
    }

    public string Image { get; }

    public DeviceRegistry Registry { get; }

    /// <summary>Whether the kernel has every block device that a state file names.</summary>
    public bool HasNodes { get; set; } = true;

    /// <summary>NBD on a socket of the scene's.</summary>
    public AttachOptions Options { get; }

    public EmbeddedPlace Place { get; init; }

    public ListLog Log { get; } = new();

    public string File(string name) => _directory.File(name);

    public EmbeddedDevice Attach(AttachOptions? options = null) => EmbeddedDevice.Attach(options ?? Options, Log, Place);

    /// <summary>As another process would: by the control socket.</summary>
    public Outcome Ask(ControlVerb verb, string name = "disk")
    {
        using var client = ControlClient.TryConnect(Registry.Directory, name)!;
        var result = client.Ask(new ControlRequest(verb, Patience, Force: false, AllowShrink: false)).Result;
        if (verb is ControlVerb.Detach && !client.WaitForEnd(Patience))
            throw new TimeoutException("the server does not let go of the connection");
        return result;
    }

    public void Dispose() => _directory.Dispose();

    /// <summary>A server of a device that has no image: what such a server does can be told it.</summary>
    public DeviceServer Serve(FakeDevice device, string? recovers = null) => DeviceServer.Start(
        new AttachOptions { Image = device.ImagePath, Name = device.Name, RecoverDevice = recovers },
        new FakeFactory((_, _) => device), Registry, new NoLog());
}

/// <summary>Keeps the events of a device.</summary>
internal sealed class EventList
{
    private readonly List<DeviceEvent> _events = [];

    public void Add(DeviceEvent what)
    {
        lock (_events)
            _events.Add(what);
    }

    public IReadOnlyList<DeviceEvent> All
    {
        get
        {
            lock (_events)
                return [.. _events];
        }
    }

    /// <summary>Waits for an event.</summary>
    public DeviceEvent WaitFor(Predicate<DeviceEvent> which)
    {
        DeviceEvent found = default;
        return SpinWait.SpinUntil(() => TryFind(which, out found) || Sleep(), EmbeddedScene.Patience) ? found
            : throw new TimeoutException($"it is not among {string.Join("; ", All)}");
    }

    public DeviceEvent WaitFor(DeviceEventKind kind, EmbeddedState state, int value = 0) =>
        WaitFor(what => what.Kind == kind && what.State == state && what.Value == value);

    /// <summary>The states that were told, in order.</summary>
    public IEnumerable<EmbeddedState> States => All.Where(what => what.Kind == DeviceEventKind.State).Select(what => what.State);

    private bool TryFind(Predicate<DeviceEvent> which, out DeviceEvent found)
    {
        found = All.FirstOrDefault(what => which(what));
        return found.Kind != 0;
    }

    private static bool Sleep()
    {
        Thread.Sleep(1);
        return false;
    }
}
