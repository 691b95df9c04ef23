using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Protocol;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices;

/// <summary>Opens images with the engine of this project.</summary>
/// <param name="newStop">makes what stops a ublk device for which no server can follow, once for each device</param>
/// <param name="isGuest">whether the process is another program's, which does not end for our sake</param>
internal sealed class EngineDeviceFactory(Func<StopUblkDevice> newStop, bool isGuest = false) : IDeviceFactory
{
    public IDevice Open(AttachOptions options, string name, string? recoveryLog, ILog log)
    {
        ArgumentNullException.ThrowIfNull(options);
        try
        {
            var host = DeviceHost.This(recoveryLog, newStop()) with { IsGuest = isGuest };
            return EngineDevice.Open(options, name, host, log);
        }
        catch (Exception error)
        {
            throw Refusals.From(error, $"cannot attach {options.Image}");
        }
    }
}

/// <summary>
/// An image served over NBD: its loops, its disk, its listener, and the life from attach to detach. Commands come on
/// any thread, one at a time.
/// </summary>
internal sealed partial class EngineDevice : IDevice
{
    private const int DefaultQueues = 4;

    // Of a block device's server: buffers for what is copied (4 MiB a queue, or what a connection of the kernel's has in progress), and
    // what requests need at home besides.
    private const int ReservedAtHome = 16 << 20;
    private const int ReservedElsewhere = 8 << 20;
    private const int WorkBytes = 8 << 20;

    // Of an NBD server: copies of clusters (two for each request) that keep a fast disk busy; the largest need 6 MiB each.
    private const int WorkBytesOfServer = 128 << 20;

    private readonly AttachOptions _options;
    private readonly ILog _log;
    private readonly string? _recoveryLog;
    private readonly OpenDisk _openDisk;
    private readonly OffloadPool _offload;
    private readonly EventLoop[] _loops;
    private readonly ServedDisk _served;
    private IExport? _openExport;
    private volatile IReadOnlyList<ChainLink> _chain = [];
    private volatile IDisk? _disk;
    private bool _wasOpen;
    private volatile int _state = (int)DeviceState.Running;
    private readonly SuspensionWatch? _suspension;
    private bool _abandoned;
    private bool _cutOff;
    private bool _opened;
    private string? _bitmapWarning;
    private bool _disposed;

    private EngineDevice(AttachOptions options, string name, ILog log, DeviceHost host)
    {
        _options = options;
        Events = new DeviceEvents(() => new DeviceCondition(State, _served?.Stalled ?? 0, _disk?.WriteErrorReason));
        _log = new HeardLog(log, Events.Failed);
        _recoveryLog = host.RecoveryLog;
        _openDisk = host.OpenDisk;
        Name = name;
        var processors = Math.Max(1, Environment.ProcessorCount);
        _offload = new OffloadPool(Math.Min(DefaultQueues, processors)) { ServesBlockDevice = options.IsBlockDevice };
        _loops = new EventLoop[ExportChoice.Queues(options, Math.Min(DefaultQueues, processors))];
        for (var i = 0; i < _loops.Length; i++)
            _loops[i] = new EventLoop(i, _offload) { Failed = host.IsGuest ? Distrust : null };
        _served = new ServedDisk(Home, options.OnEnospc == EnospcPolicy.Stop)
        {
            IsBlockDevice = options.IsBlockDevice,
            StalledChanged = Events.Wake,
            Budget = new WorkBudget(options.IsBlockDevice ? WorkBytes : WorkBytesOfServer),
        };
        Apply(options);
        if (!options.IsBlockDevice)
            return;
        _suspension = new SuspensionWatch(Home, _log.Warning, host.SuspensionLimit);
        ReserveMemory();
    }

    public string Name { get; }

    public string ImagePath => _options.Image;

    public string? ImageIdentity { get; private set; }

    public string? Uri => Export.Uri;

    public string? DevicePath => Export.DevicePath;

    public DeviceState State => (DeviceState)_state switch
    {
        DeviceState.Running when _disk?.WriteErrorReason is not null => DeviceState.Failed,
        DeviceState.Running when History.DetachWaitsFor is not null => DeviceState.Detaching,
        DeviceState.Running when BaseStatus.IsWaiting(_chain) => DeviceState.WaitingForSource,
        var state => state,
    };

    public DeviceHistory History
    {
        get;
        set
        {
            field = value;
            Events.Changed(); // A detach that waits for a user is a state.
        }
    } = DeviceHistory.New;

    public DeviceEvents Events { get; }

    private EventLoop Home => _loops[0];

    private IExport Export => _openExport!;

    /// <summary>Opens, locks and starts to serve: clients can connect when it returns.</summary>
    /// <exception cref="OutcomeException">the image or the address cannot be served; nothing is left behind</exception>
    public static EngineDevice Open(AttachOptions options, string name, DeviceHost host, ILog log)
    {
        ArgumentNullException.ThrowIfNull(options);
        var device = Open(options, name, log, host);
        if (options.IsBlockDevice)
            device.LockMemory();
        return device;
    }

    /// <summary>As the other, on a host of one's own.</summary>
    internal static EngineDevice Open(AttachOptions options, string name, ILog log, DeviceHost host)
    {
        EngineDevice? device = null;
        try
        {
            device = new EngineDevice(options, name, log, host);
            device.Home.Idle = () => device._disk?.WriteBehindWhenIdle();
            foreach (var loop in device._loops)
                loop.Start();
            if (device.Home.IsEmulated)
            {
                log.Warning(
                    "io_uring is not available here (a container's seccomp profile, or kernel.io_uring_disabled): using threads, which"
                        + " is slower");
            }

            device.OpenChainAsync(options.EffectiveLockTimeout, CancellationToken.None).GetAwaiter().GetResult();
            device._served.Set(device._disk);
            device._openExport = host.OpenExport(options, device._loops, device._served, new Catalog(device), device._log);
            return device;
        }
        catch (Exception error)
        {
            device?.CloseQuietly();
            throw Refusals.From(error, $"cannot attach {options.Image}");
        }
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        if (_abandoned)
            return;
        _openExport?.Dispose();
        foreach (var loop in _loops)
            loop.Dispose();
        _offload.Dispose();
    }

    public RequestTrace Trace => _served.Trace;

    public int Loops => _loops.Length;

    public void Apply(AttachOptions options) => _served.Limits.Set(options.Limits);

    private void Become(DeviceState state)
    {
        _state = (int)state;
        Events.Changed();
    }

    private void Distrust(Exception error) => InternalError.Contain(error, _disk, _log);

    /// <summary>Before the loops start: a server of a block device must not need memory that only its own writes can free.</summary>
    private void ReserveMemory()
    {
        for (var i = 0; i < _loops.Length; i++)
            _loops[i].Buffers.Reserve(i == 0 ? ReservedAtHome : ReservedElsewhere);
    }

    /// <summary>After everything was made: what was used stays in memory, and what comes stays from its first use on.</summary>
    private void LockMemory()
    {
        OutOfMemory.Spare(_log);
        var error = Memory.LockAll();
        if (error < 0)
            _log.Info($"memory is not locked ({Errno.Text(error)}): under memory pressure {DevicePath} may wait for itself");
    }

    /// <param name="lockTimeout">how long locks may take that nobody alive holds: last writes of a server that was killed</param>
    /// <param name="cut">as if the files did not answer</param>
    /// <exception cref="TimeoutException">the files do not answer</exception>
    private async Task OpenChainAsync(TimeSpan lockTimeout, CancellationToken cut)
    {
        IDisk? disk = null;
        IReadOnlyList<ChainLink> chain = [];
        var givenUp = false;
        var log = ChooseLog();
        var opening = OnHomeAsync(async () =>
        {
            var wasServed = _wasOpen || _options.RecoverDevice is not null;
            (disk, chain) = await _openDisk(_options with { IsOpenedAgain = wasServed }, _log, log, lockTimeout);
            _wasOpen = true;
            await ShowBitmapsAsync(disk);
            return Volatile.Read(ref givenUp) ? await disk.CloseAsync() : 0;
        });
        _atStorage = opening;
        if (!await EndsAsync(opening, s_closeTimeout + lockTimeout, cut))
        {
            // If it opens after all, it is closed again.
            Volatile.Write(ref givenUp, true);
            throw new TimeoutException($"{ImagePath} did not open within {s_closeTimeout.TotalMinutes:0} minutes");
        }

        await opening;
        (_disk, _chain) = (disk, chain);
        BaseStatus.Follow(chain, Events.Wake);
        ImageIdentity = disk!.File.Identity?.ToString();
        WarnOfBitmaps();
        var takesOver = _options.RecoverDevice is not null && !_opened;
        _opened = true;

        // What the server before wrote may be in a volatile cache yet, whatever this one knows: the next flush must flush.
        if (takesOver)
            disk.NoteDirectWrite();
    }

    /// <exception cref="ImageFormatException">a bitmap that clients are to see is not there, or of no use</exception>
    private async LoopTask<int> ShowBitmapsAsync(IDisk disk)
    {
        try
        {
            return disk is Qcow2Image image ? await image.ShowBitmapsAsync(_options.Bitmaps) : 0;
        }
        catch
        {
            await disk.CloseAsync();
            throw;
        }
    }

    /// <summary>Once at attach, and again where somebody made others while the image was suspended.</summary>
    private void WarnOfBitmaps()
    {
        var warning = _disk is Qcow2Image image ? BitmapWarning.Of(ImagePath, image.Bitmaps, image.ReadOnly) : null;
        if (warning is not null && warning != _bitmapWarning)
            _log.Warning(warning);
        _bitmapWarning = warning ?? _bitmapWarning;
    }

    /// <summary>Users of a block device do not notice that its server died: what it answered must not be lost with it.</summary>
    private RecoveryLogChoice ChooseLog() => _options.KeepsLog && _recoveryLog is not null
        ? new RecoveryLogChoice(_recoveryLog, Replay: !_opened && !_options.DiscardLog, Discard: !_opened && _options.DiscardLog,
            OnlyImage: _options.RecoverDevice is not null && !_opened ? _options.OnlyImage : null)
        : default;

    private void CloseQuietly()
    {
        if (_disk is { } disk && OnHomeAsync(disk.CloseAsync).GetAwaiter().GetResult() is var error and < 0)
            _log.Error($"cannot close {ImagePath}: {Errno.Text(error)}");
        _disk = null;
        Dispose();
    }

    /// <returns>the result of a task on the home loop, or null if it did not end in time; it still runs then</returns>
    private async Task<int?> OnHomeAsync(Func<LoopTask<int>> start, TimeSpan timeout, CancellationToken cut)
    {
        var task = OnHomeAsync(start);
        return await EndsAsync(task, timeout, cut) ? await task : null;
    }

    /// <summary>Runs a task on the home loop; what awaits it goes on elsewhere.</summary>
    private async Task<int> OnHomeAsync(Func<LoopTask<int>> start)
    {
        using var ended = new LoopSignal();
        var result = 0;
        Exception? failure = null;
        Home.PostFromAnyThread(() => RunAsync().Forget());
        await ended.Seen;
        return failure is null ? result : throw failure;

        async LoopTask<int> RunAsync()
        {
            try
            {
                result = await start();
            }
            catch (Exception error)
            {
                failure = error;
            }

            ended.Set();
            return 0;
        }
    }

    /// <returns>false if it did not end in time, or was cut short</returns>
    private static async Task<bool> EndsAsync(Task task, TimeSpan timeout, CancellationToken cut)
    {
        await task.WaitAsync(timeout, cut).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return task.IsCompleted;
    }

    /// <summary>What waits for the kernel, and maybe long, blocks a thread of its own and none of the pool.</summary>
    private static Task<T> BlockingAsync<T>(Func<T> call) => Task.Factory.StartNew(
        call, CancellationToken.None, TaskCreationOptions.DenyChildAttach | TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>The one export there is, under its name and as the default.</summary>
    private sealed class Catalog(EngineDevice device) : IExportCatalog
    {
        public IReadOnlyList<ExportInfo> List() => [Describe()];

        public bool TryFind(string name, out ExportInfo export)
        {
            export = Describe();
            return name.Length == 0 || name == device.Name;
        }

        private ExportInfo Describe()
        {
            var readOnly = device._options.EffectiveReadOnly;
            return new ExportInfo
            {
                Name = device.Name,
                Description = $"qcow2blk: {System.IO.Path.GetFileName(device.ImagePath)}",
                Size = device._served.Size,
                ReadOnly = readOnly,
                MultiConnection = true,
                CanTrim = !readOnly,
                CanZero = !readOnly,
                CanFastZero = !readOnly,
                CanCache = true,
                Bitmaps = device._options.Bitmaps,
                MinimumBlockSize = 1,
                PreferredBlockSize = 4096,
                MaximumBlockSize = NbdProtocol.MaxRequestPayload,
            };
        }
    }
}
