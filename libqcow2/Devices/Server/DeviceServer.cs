using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// One attached device in this process: its name, its image, its control socket and pid file, from attach to detach.
/// </summary>
internal sealed partial class DeviceServer : IDisposable
{
    /// <summary>What a signal gives the requests in flight: less than the 90 s after which systemd kills.</summary>
    public static TimeSpan SignalTimeout { get; } = TimeSpan.FromSeconds(20);

    private static TimeSpan ForcedTimeout { get; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Who attaches to mount begins within seconds. Where they were killed in between, nobody else would ever detach.
    /// </summary>
    private static readonly TimeSpan s_firstUserTimeout = TimeSpan.FromSeconds(60);

    private readonly DeviceClaim? _claim;
    private readonly IDevice _device;
    private readonly ILog _log;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ControlServer? _control;
    private PidFile? _pidFile;
    private DeviceWatch? _told;
    private bool _hasRecovered;

    private DeviceServer(DeviceClaim? claim, IDevice device, DeviceRecord record, ILog log)
    {
        _claim = claim;
        _device = device;
        _log = log;
        Record = record;
    }

    /// <summary>What the state file says.</summary>
    public DeviceRecord Record { get; private set; }

    /// <summary>Claims a name, opens the image and makes it findable. Clients can connect when this returns.</summary>
    /// <remarks>
    /// A server in the process of its command can do without a runtime directory: it ends with that process, by a signal.
    /// Others need their control socket to end.
    /// </remarks>
    /// <param name="options">what to serve, and how</param>
    /// <param name="factory">opens the image</param>
    /// <param name="registry">where it is found</param>
    /// <param name="log">for what happens when nobody waits</param>
    /// <param name="supervisor">the process that starts another server if this one dies</param>
    /// <param name="isGuest">whether this process is another program's</param>
    /// <exception cref="OutcomeException">
    /// the device cannot be attached: nothing is left behind but a log that was there; or taken over: it is left as it was
    /// </exception>
    public static DeviceServer Start(AttachOptions options, IDeviceFactory factory, DeviceRegistry registry, ILog log,
        ProcessIdentity? supervisor = null, bool isGuest = false)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(factory);
        ArgumentNullException.ThrowIfNull(registry);
        AttachRules.Check(options);
        options = KeySources.Collect(options);
        var lost = options.RecoverDevice is null ? null : Lost(options, registry);
        var claim = Claim(options, registry, log, name => Draft(options, name, supervisor, lost, isGuest));
        try
        {
            var name = claim?.Name ?? options.Name ?? DeviceName.FromImage(options.Image);
            return Open(options with { OnlyImage = lost?.ImageIdentity }, factory, registry, claim, log,
                Draft(options, name, supervisor, lost, isGuest));
        }
        catch
        {
            // What a server before had answered stays where the next attempt, or a detach, finds it.
            if (lost is null && !(claim is not null && RecoveryLog.HasRecords(registry.Directory.LogOf(claim.Name))))
                claim?.Dispose();
            else
                claim?.Leave();
            throw;
        }
    }

    /// <returns>null if there is no place for it, and the server can do without</returns>
    private static DeviceClaim? Claim(AttachOptions options, DeviceRegistry registry, ILog log, Func<string, DeviceRecord> draft)
    {
        try
        {
            return registry.Claim(options, draft);
        }
        catch (OutcomeException error) when (error.IsRuntimeDirectory && options.ServesInProcess && options.RecoverDevice is null)
        {
            var but = "serving anyway, but \"qcow2blk list\" and other commands will not find this device";
            // Who has a command run, or starts a server for one connection, looks for it in no list.
            var level = options.Foreground || options.IsBlockDevice ? LogLevel.Warning : LogLevel.Info;
            if (options.IsBlockDevice)
                but += ", and if this server is killed, what was not flushed is lost";
            log.Write(level, OutcomeException.Compose(error.What, error.Why, but));
            return null;
        }
    }

    private static DeviceRecord Lost(AttachOptions options, DeviceRegistry registry)
    {
        var what = $"cannot recover {options.RecoverDevice}";
        var lost = (options.Name is null ? null : registry.FindLost(options.Name))
            ?? throw new OutcomeException(OutcomeKind.Failed, what, "no device of that name is waiting for a server");
        Recovery.CheckImage(lost, what);
        return lost;
    }

    /// <summary>What is known before the image is open. A server that dies until then must not lose the device of the one before.</summary>
    private static DeviceRecord Draft(
        AttachOptions options, string name, ProcessIdentity? supervisor, DeviceRecord? lost, bool isGuest) => new()
        {
            IsGuest = isGuest,
            Name = name,
            Image = options.Image,
            DevicePath = lost?.DevicePath,
            Pid = Environment.ProcessId,
            Supervisor = supervisor,
            Started = lost?.Started ?? DateTimeOffset.UtcNow,
            Recoveries = lost?.Recoveries ?? 0,
            HandedOver = lost?.HandedOver ?? false,
            ImageIdentity = lost?.ImageIdentity,
            Options = AttachOptionTable.Kept(options),
        };

    private static DeviceServer Open(AttachOptions options, IDeviceFactory factory, DeviceRegistry registry,
        DeviceClaim? claim, ILog log, DeviceRecord draft)
    {
        var name = draft.Name;
        // A dead server of this name left its socket; the claim is ours, so nobody else's can be there.
        if (claim is not null)
            _ = Unistd.Unlink(registry.Directory.SocketOf(name));
        var recovers = options.RecoverDevice is not null;
        var device = factory.Open(options, name, claim is null ? null : registry.Directory.LogOf(name), log);
        var plain = log;
        log = new HeardLog(log, device.Events.Failed);
        DeviceServer? server = null;
        try
        {
            var record = draft with
            {
                Uri = device.Uri,
                DevicePath = device.DevicePath,
                Recoveries = draft.Recoveries + (recovers && !draft.HandedOver ? 1 : 0),
                HandedOver = false,
                ImageIdentity = device.ImageIdentity,
                SocketIdentity = options.SocketPath is { } path ? EntryIdentity.Of(path)?.ToString() : null,
            };
            device.History = new DeviceHistory(record.Started, record.Recoveries, record.Supervisor?.Pid, null);
            server = new DeviceServer(claim, device, record, log);
            if (claim is not null)
            {
                server._control = new ControlServer(
                    registry.Directory.SocketOf(name), device, server.ExecuteAsync, server.NotHeard, log, hold: server.HoldAsync);
            }

            claim?.Publish(record);
            server._pidFile = options.PidFile is { } pidFile ? PidFile.Write(pidFile) : null;
            if (KernelNode.TryParse(record.DevicePath) is { } node)
                node.Announce();
            log.Info($"{(recovers ? "recovered" : "attached")} {options.Image} as {name}, serving {device.Uri ?? device.DevicePath}");
            server._hasRecovered = recovers && !draft.HandedOver;
            server._told = DeviceLog.Follow(device, plain);
            if (record.Options.DetachWhenUnused)
                server.BeginLazily(ControlRequest.DefaultTimeout, isUsed: recovers);
            return server;
        }
        catch
        {
            server?._control?.Dispose();
            End(device, recovers);
            device.Dispose();
            throw;
        }
    }

    /// <summary>It cannot be served after all: a device that was there before is left to the next server.</summary>
    private static void End(IDevice device, bool recovers)
    {
        if (!recovers || !device.HandOverAsync(SignalTimeout, ending: true, CancellationToken.None).GetAwaiter().GetResult().Succeeded)
            device.DetachAsync(force: true, SignalTimeout, CancellationToken.None).GetAwaiter().GetResult();
    }

    /// <summary>Tells the log that it lives with if a server before has died: whoever started this one may not be listening.</summary>
    public void TellRecovery()
    {
        if (_hasRecovered)
            _log.Write(LogLevel.Warning, LogEvent.Recovered, $"recovered {Record.Name}: {Record.DevicePath} is served again");
    }

    /// <summary>Completes when the device was detached, or <see cref="RequestEnd"/> was called: then <see cref="Finish"/> is due.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Blocks until the device was detached, or <see cref="RequestEnd"/> was called.</summary>
    public void WaitForEnd() => _ended.Task.Wait();

    /// <summary>Makes <see cref="WaitForEnd"/> return: a signal came. Safe from any thread.</summary>
    public void RequestEnd() => _ended.TrySetResult();

    /// <summary>
    /// Removes everything that makes the device findable, or what of that does not belong to the next server. Control
    /// connections are cut last: that is how <c>qcow2blk detach</c> knows that nothing is left.
    /// </summary>
    public void Dispose()
    {
        _turns.Dispose();
        _told?.Dispose();
        _device.Dispose();
        _pidFile?.Dispose();
        if (HandedOver)
        {
            _claim?.Leave();
        }
        else
        {
            _claim?.Dispose();
            // A kernel NBD device stays, and its last event may have come while it still had its name: udev has to look again.
            KernelNode.TryParse(Record.DevicePath)?.Announce();
            _device.Events.End();
        }

        _control?.Dispose();
    }
}
