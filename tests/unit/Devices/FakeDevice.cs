using System;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A device without an image, for what lies between it and the command.</summary>
internal sealed class FakeDevice(string name, string image) : IDevice
{
    public string Name { get; } = name;

    public string ImagePath { get; } = image;

    public string? ImageIdentity => OpenedAs ?? Recovery.ImageIdentity(ImagePath);

    internal string? OpenedAs { get; init; }

    public string? Uri => $"nbd+unix:///?socket=/run/{Name}.nbd";

    public string? DevicePath { get; init; }

    public DeviceHistory History { get; set; } = DeviceHistory.New;

    internal string? User { get; set; }

    internal Outcome? RefuseHandOver { get; set; }

    internal Action? OnHandOver { get; init; }

    public Task<string?> FindUserAsync() => Task.FromResult(User);

    public async Task<Outcome> HandOverAsync(TimeSpan timeout, bool ending, CancellationToken cut)
    {
        if (OnHandOver is not null)
            await Task.Run(OnHandOver, CancellationToken.None);
        return RefuseHandOver ?? Outcome.Done();
    }

    internal ImageEdit? LastEdit { get; private set; }

    public Task<Outcome> EditAsync(ImageEdit edit, TimeSpan timeout, CancellationToken cut)
    {
        LastEdit = edit;
        return Task.FromResult(Outcome.Done() with { Json = "[1]" });
    }

    /// <summary>Whether requests are held.</summary>
    internal bool IsHeld { get; private set; }

    public Task<Outcome> HoldAsync(TimeSpan timeout, CancellationToken cut)
    {
        IsHeld = true;
        return Task.FromResult(Outcome.Done());
    }

    public Task<Outcome> EditHeldAsync(ImageEdit edit, CancellationToken cut) => EditAsync(edit, TimeSpan.Zero, cut);

    public void ReleaseHold() => IsHeld = false;

    public DeviceState State
    {
        get;
        set
        {
            field = value;
            Events.Changed();
        }
    }

    public DeviceEvents Events => field ??= new DeviceEvents(() => new DeviceCondition(State, Waiting, WriteError));

    /// <summary>Requests that wait for space.</summary>
    internal int Waiting { get; set; }

    internal string? WriteError { get; set; }

    internal Outcome? RefuseDetach { get; set; }

    /// <summary>What a forced detach says of its loss.</summary>
    internal string? ForcedNote { get; init; }

    /// <summary>What a suspend waits for, unless it is cut short.</summary>
    internal Task HoldSuspend { get; init; } = Task.CompletedTask;

    internal int Disposed { get; private set; }

    internal (bool AllowShrink, TimeSpan Timeout, TimeSpan? LockTimeout) LastResume { get; private set; }

    public async Task<Outcome> SuspendAsync(TimeSpan timeout, CancellationToken cut)
    {
        await HoldSuspend.WaitAsync(cut).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!HoldSuspend.IsCompleted)
            return Outcome.Refused(OutcomeKind.Failed, $"cannot suspend {Name}", "requests did not end");
        if (State == DeviceState.Suspended)
            return Outcome.Done("already suspended");
        State = DeviceState.Suspended;
        return Outcome.Done();
    }

    public Task<Outcome> ResumeAsync(bool allowShrink, TimeSpan timeout, TimeSpan? lockTimeout, CancellationToken cut)
    {
        LastResume = (allowShrink, timeout, lockTimeout);
        return Task.FromResult(State == DeviceState.Running
            ? Outcome.Done("already running")
            : Outcome.Refused(OutcomeKind.Busy, $"cannot resume {Name}", "image is in use by qemu-img (process 7)", "wait"));
    }

    public Task<Outcome> DetachAsync(bool force, TimeSpan timeout, CancellationToken cut)
    {
        if (RefuseDetach is { } refusal && !force)
            return Task.FromResult(refusal);
        State = DeviceState.Detaching;
        return Task.FromResult(Outcome.Done(force ? ForcedNote : null));
    }

    /// <summary>What was set last; null if nothing was.</summary>
    internal AttachOptions? Applied { get; private set; }

    public RequestTrace Trace { get; } = new();

    public int Loops => 2;

    public void Apply(AttachOptions options) => Applied = options;

    public void WriteStatus(Utf8JsonWriter writer)
    {
        if (State == DeviceState.Failed)
            throw new InvalidOperationException("status of a failed fake");
        writer.WriteStartObject();
        writer.WriteString("name", Name);
        writer.WriteStartArray("chain");
        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    public void LeaveAsIs()
    {
        // There is nothing of it that Dispose would touch.
    }

    public void Dispose() => Disposed++;
}

internal sealed class FakeFactory(Func<AttachOptions, string, IDevice> open) : IDeviceFactory
{
    internal FakeFactory()
        : this((options, name) => new FakeDevice(name, options.Image))
    {
    }

    public IDevice Open(AttachOptions options, string name, string? recoveryLog, ILog log) => open(options, name);
}

internal sealed class NoLog : ILog
{
    public LogLevel Level => LogLevel.Error;

    public void Write(LogLevel level, string message)
    {
    }
}
