using System;
using System.Text;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Embedding.Devices;

/// <summary>
/// A program's handle on an attached device, which this process serves or another. Commands go by the control socket in both cases,
/// so that handles, and the qcow2blk command, all see the same. Any thread may call it, also several at once.
/// </summary>
internal sealed class EmbeddedDevice
{
    private readonly DeviceIdentity _device;
    private readonly DeviceRecord _record;
    private readonly ServedHere? _here;
    private readonly Lock _events = new();
    private volatile DeviceListener? _listener;

    private EmbeddedDevice(DeviceIdentity device, DeviceRecord record, ServedHere? here)
    {
        _device = device;
        _record = record;
        _here = here;
    }

    public string Name => _record.Name;

    /// <summary>The NBD URI for clients; null for a block device.</summary>
    public string? Uri => _record.Uri;

    /// <summary>The node of the block device; null for an NBD server.</summary>
    public string? DevicePath => _record.DevicePath;

    /// <summary>
    /// Whether the calling thread is in the handler of <see cref="SetEvents"/>: what waits for the device must not be called then.
    /// </summary>
    public bool IsInHandler => _listener?.IsHandling ?? false;

    /// <summary>Opens an image and serves it: NBD in this process, a block device in one of its own.</summary>
    /// <param name="options">what, and how; the paths are absolute</param>
    /// <param name="log">what happens in this process when nobody waits</param>
    /// <exception cref="OutcomeException">it cannot be attached; nothing is left behind</exception>
    public static EmbeddedDevice Attach(AttachOptions options, ILog log) => Attach(options, log, EmbeddedPlace.This());

    internal static EmbeddedDevice Attach(AttachOptions options, ILog log, EmbeddedPlace place)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(place);
        try
        {
            RefuseCommandOptions(options);
            AttachRules.Check(options);
            return options.IsBlockDevice ? AttachElsewhere(options, place) : AttachHere(options, log, place);
        }
        catch (Exception error)
        {
            throw Refusals.From(error, $"cannot attach {options.Image}");
        }
    }

    /// <summary>A handle on a device that is attached already, in whatever process.</summary>
    /// <param name="target">its name, node, image or URI</param>
    /// <exception cref="OutcomeException">
    /// not-found: there is none; invalid: several answer to it; failed: its server is dead, and no other is being started
    /// </exception>
    public static EmbeddedDevice Find(string target) => Find(target, EmbeddedPlace.This());

    internal static EmbeddedDevice Find(string target, EmbeddedPlace place)
    {
        ArgumentNullException.ThrowIfNull(place);
        if (string.IsNullOrEmpty(target))
            throw new OutcomeException(OutcomeKind.Invalid, "cannot find a device", "its name is empty");
        var entry = place.Registry.Resolve(target);
        return entry.Alive || entry.IsRecovering
            ? new EmbeddedDevice(DeviceIdentity.Of(place.Registry, entry.Record), entry.Record, null)
            : throw new OutcomeException(OutcomeKind.Failed, $"cannot open {entry.Record.Name}", "its server is dead",
                $"\"qcow2blk detach {entry.Record.Name}\" cleans up after it")
            { Error = -Errno.ECONNREFUSED };
    }

    /// <summary>What the device does now.</summary>
    /// <exception cref="OutcomeException">its server is starting, or does not answer</exception>
    public EmbeddedState State()
    {
        var what = $"cannot tell the state of {Name}";
        if (Current() is null)
            return EmbeddedState.Ended;
        var reply = Ask(what, new ControlRequest(ControlVerb.Hello, TimeSpan.Zero, Force: false, AllowShrink: false));
        if (reply.Result.Kind == OutcomeKind.NotFound)
            return EmbeddedState.Ended;
        return DeviceStates.Words.TryParse(reply.State) is { } state ? EmbeddedStates.Of(state)
            : throw new OutcomeException(OutcomeKind.Failed, what, reply.Result.Why ?? "its server sent none");
    }

    /// <summary>The JSON object that <c>qcow2blk status --json</c> prints.</summary>
    /// <exception cref="OutcomeException">not-found: the device has ended; else its server does not answer</exception>
    public string Status()
    {
        var what = $"no status of {Name}";
        var reply = Ask(what, new ControlRequest(ControlVerb.Status, TimeSpan.Zero, Force: false, AllowShrink: false));
        var result = reply.Result;
        return result.Succeeded && !reply.Status.IsEmpty ? Encoding.UTF8.GetString(reply.Status.Span)
            : throw new OutcomeException(result.Succeeded ? OutcomeKind.Failed : result.Kind, result.What ?? what,
                result.Why ?? "the server sent none", result.Hint);
    }

    /// <summary>Holds all requests and closes the image. On failure the device runs on.</summary>
    /// <param name="timeout">how long requests in progress may take</param>
    public Outcome Suspend(TimeSpan timeout) =>
        Command($"cannot suspend {Name}", new ControlRequest(ControlVerb.Suspend, timeout, Force: false, AllowShrink: false));

    /// <summary>Opens the image again and goes on with the requests. On failure the device stays suspended.</summary>
    /// <param name="timeout">how long to wait for its turn and for locks</param>
    /// <param name="allowShrink">accept a disk that has become smaller</param>
    public Outcome Resume(TimeSpan timeout, bool allowShrink) =>
        Command($"cannot resume {Name}", new ControlRequest(ControlVerb.Resume, timeout, Force: false, allowShrink));

    /// <summary>Operates on the image of the device, by its server.</summary>
    /// <param name="edit">what to do</param>
    /// <param name="timeout">how long requests in progress may take</param>
    public Outcome Edit(ImageEdit edit, TimeSpan timeout)
    {
        ArgumentNullException.ThrowIfNull(edit);
        return Command($"{ImageEdits.KindOf(edit).What(edit)} {Name}", new ControlRequest(ControlVerb.Edit, timeout, Force: false,
            AllowShrink: false, Options: edit.Arguments, Edit: edit.Name));
    }

    /// <summary>Writes everything down and ends the device. On failure it goes on.</summary>
    /// <param name="timeout">how long requests in progress may take</param>
    /// <param name="force">whoever uses it, and whatever cannot be written</param>
    public Outcome Detach(TimeSpan timeout, bool force)
    {
        var what = $"cannot detach {Name}";
        try
        {
            var result = Current() is { } entry
                ? DetachCommand.Run(_device.Registry, entry, new ControlRequest(ControlVerb.Detach, timeout, force, AllowShrink: false))
                : HasEnded(what);
            if (result.Succeeded)
                _here?.End();
            return result;
        }
        catch (OutcomeException error)
        {
            return Refused(error);
        }
    }

    /// <summary>
    /// Hears what happens to the device from now on, by a thread of this library, one event at a time; the first tells the present
    /// state. Null: nobody hears it any more, and once this returns the former handler is not running and will not be called.
    /// </summary>
    /// <returns>false if called from the handler: nothing has changed</returns>
    /// <exception cref="OutcomeException">there are no descriptors left</exception>
    public bool SetEvents(Action<DeviceEvent>? handler)
    {
        if (IsInHandler)
            return false;
        lock (_events)
        {
            _listener?.Dispose();
            _listener = handler is null ? null : new DeviceListener(_device, handler);
            // Only now: the handler may ask whether it is one.
            _listener?.Start();
        }

        return true;
    }

    /// <summary>
    /// Lets go of the device. What this process serves is detached first, by force if that does not work in time; what has a process
    /// of its own goes on. Not from the handler.
    /// </summary>
    /// <returns>how it went: what is not done means that data may be lost</returns>
    public Outcome Close()
    {
        if (!SetEvents(null))
            return Outcome.Refused(OutcomeKind.Invalid, $"cannot close {Name}", "this was called by the handler of its events");
        return _here?.End() ?? Outcome.Done();
    }

    /// <summary>Some options make the command a server; a program that uses the library is one already.</summary>
    private static void RefuseCommandOptions(AttachOptions options)
    {
        var given = options.Foreground ? "foreground" : options.RunCommand is not null ? "run"
            : options.ListenFd is not null ? "an activating socket" : null;
        if (given is not null)
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"cannot attach {options.Image}",
                $"{given} is only for the qcow2blk command", "NBD is served in this process without it");
        }
    }

    private static EmbeddedDevice AttachHere(AttachOptions options, ILog log, EmbeddedPlace place)
    {
        // A key of its own, for as long as it is opened again after a suspend: the options may be closed before.
        var given = options.HeldKey;
        options = KeySources.Collect(options);
        var key = options.HeldKey is { } held && held == given ? SecretMemory.CopyOf(held.Span) : options.HeldKey;
        try
        {
            var server = DeviceServer.Start(options with { HeldKey = key }, place.Factory, place.Registry, log, isGuest: true);
            var record = server.Record;
            return new EmbeddedDevice(DeviceIdentity.Of(place.Registry, record), record, new ServedHere(server, key, log));
        }
        catch
        {
            key?.Dispose();
            throw;
        }
    }

    private static EmbeddedDevice AttachElsewhere(AttachOptions options, EmbeddedPlace place)
    {
        var record = Launcher.Start(options, place.Command(), place.Registry);
        return new EmbeddedDevice(DeviceIdentity.Of(place.Registry, record), record, null);
    }

    /// <returns>null once it has ended: detached, or its server died and none follows</returns>
    private DeviceEntry? Current() =>
        _device.Find() is { } entry && (entry.Alive || entry.IsRecovering || _device.WaitsForServer(entry)) ? entry : null;

    private Outcome Command(string what, ControlRequest request)
    {
        try
        {
            return Ask(what, request).Result;
        }
        catch (OutcomeException error)
        {
            return Refused(error);
        }
    }

    /// <summary>Connects to its server.</summary>
    /// <param name="what">what for: "cannot suspend disk"</param>
    /// <returns>null if it has ended</returns>
    /// <exception cref="OutcomeException">nobody answers</exception>
    internal ControlClient? Connect(string what)
    {
        if (Current() is not { } entry)
            return null;
        if (!entry.Alive)
        {
            throw new OutcomeException(OutcomeKind.Busy, what,
                $"its server died{(entry.IsRecovering ? " and is being started again" : "")}",
                entry.IsRecovering ? "try again in a moment" : $"\"qcow2blk attach --recover {Name}\" starts another");
        }

        return ControlClient.TryConnect(_device.Registry.Directory, Name) ?? (Current() is null ? null
            : throw new OutcomeException(OutcomeKind.Busy, what, "its server is starting or ending", "try again"));
    }

    /// <exception cref="OutcomeException">nobody answers</exception>
    private ControlReply Ask(string what, ControlRequest request)
    {
        try
        {
            using var client = Connect(what);
            return client?.Ask(request) ?? new ControlReply(HasEnded(what), null, default);
        }
        catch (OutcomeException) when (Current() is null)
        {
            return new ControlReply(HasEnded(what), null, default);
        }
    }

    internal static Outcome HasEnded(string what) => Outcome.Refused(OutcomeKind.NotFound, what, "it has ended");

    internal static Outcome Refused(OutcomeException error) =>
        Outcome.Refused(error.Kind, error.What, error.Why, error.Hint) with { Error = ErrorNumbers.Of(error) };
}
