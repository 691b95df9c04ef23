using System;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Takeover;
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

    public string? FindUser() => User;

    public Outcome HandOver(TimeSpan timeout, bool ending)
    {
        OnHandOver?.Invoke();
        return RefuseHandOver ?? Outcome.Done();
    }

    public DeviceState State { get; set; }

    internal Outcome? RefuseDetach { get; set; }

    /// <summary>What a forced detach says of its loss.</summary>
    internal string? ForcedNote { get; init; }

    internal ManualResetEventSlim? HoldSuspend { get; init; }

    internal int Disposed { get; private set; }

    internal (bool AllowShrink, TimeSpan Timeout, TimeSpan? LockTimeout) LastResume { get; private set; }

    public Outcome Suspend(TimeSpan timeout)
    {
        HoldSuspend?.Wait();
        if (State == DeviceState.Suspended)
            return Outcome.Done("already suspended");
        State = DeviceState.Suspended;
        return Outcome.Done();
    }

    public Outcome Resume(bool allowShrink, TimeSpan timeout, TimeSpan? lockTimeout = null)
    {
        LastResume = (allowShrink, timeout, lockTimeout);
        return State == DeviceState.Running
            ? Outcome.Done("already running")
            : Outcome.Refused(OutcomeKind.Busy, $"cannot resume {Name}", "image is in use by qemu-img (process 7)", "wait");
    }

    public Outcome Detach(bool force, TimeSpan timeout)
    {
        if (RefuseDetach is { } refusal && !force)
            return refusal;
        State = DeviceState.Detaching;
        return Outcome.Done(force ? ForcedNote : null);
    }

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
