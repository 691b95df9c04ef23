using System;
using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Exports;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Embedding;

/// <summary>
/// An image that a program has open for itself. Any thread of it may ask for I/O: what is mapped a thread does itself
/// (<see cref="ThreadTransfer"/>), everything else the loop of the image does, which is the home of its disk.
/// </summary>
/// <remarks>
/// Without a thread of its own (<see cref="IsDriven"/>) the image belongs to the thread that opened it. Whoever posts to the loop
/// is counted first and looks whether the image is being closed after that; closing says so first and then waits for what is
/// counted: so nothing is posted to a loop that has ended.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "closing waits and has a result: Close disposes of the parts")]
internal sealed partial class OpenImage
{
    /// <summary>Asynchronous requests that may be in flight.</summary>
    public const int MaximumInFlight = 65536;

    // As much as keeps a fast disk busy with copies of clusters.
    private const int WorkBytes = 128 << 20;
    private const int MaximumInflaters = 4;

    private readonly ILog _log;
    private readonly EventLoop _loop;
    private readonly OffloadPool? _offload;
    private readonly int _owner;
    private readonly AttachOptions _options;
    private readonly int[] _files;
    private volatile IDisk _disk = null!;
    private IReadOnlyList<ChainLink> _chain = [];
    private volatile bool _closing;
    private int _inFlight;
    private int _pending;
    private int _ended;

    /// <param name="options">how the image is opened, again too; a key in them belongs to it from now on</param>
    /// <param name="files">descriptors that belong to it from now on</param>
    /// <param name="isDriven">whether it has no thread</param>
    /// <param name="log">for what no result tells</param>
    private OpenImage(AttachOptions options, int[] files, bool isDriven, ILog log)
    {
        (_log, _options, _files) = (log, options, files);
        IsDriven = isDriven;
        _owner = Environment.CurrentManagedThreadId;
        if (isDriven)
        {
            _loop = EventLoop.StartHere(Distrust);
        }
        else
        {
            _offload = new OffloadPool(Math.Clamp(Environment.ProcessorCount, 1, MaximumInflaters));
            _loop = new EventLoop(0, _offload) { Failed = Distrust };
            _loop.Start();
        }

        Served = new ServedDisk(_loop, options.OnEnospc == EnospcPolicy.Stop) { Budget = new WorkBudget(WorkBytes) };
        Gate = new RequestGate(_loop);
    }

    /// <summary>Whether the loop runs inside calls of the thread that opened the image, and no thread is ours.</summary>
    public bool IsDriven { get; }

    public long Size => _disk.Size;

    public bool ReadOnly => _disk.ReadOnly;

    public long ClusterBytes => _disk.ClusterBytes;

    /// <summary>Readable when <see cref="Process"/> has something to do; of an image without a thread.</summary>
    public int WatchDescriptor => _loop.WatchDescriptor;

    /// <summary>Asynchronous requests that have not ended.</summary>
    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>Whether a write has ended that no flush covers yet; for tests.</summary>
    internal bool HasUnsyncedData => (_disk as Qcow2Image)?.HasUnsyncedData ?? false;

    internal ServedDisk Served { get; }

    internal RequestGate Gate { get; }

    internal EventLoop Loop => _loop;

    /// <summary>Opens the image and everything below it.</summary>
    /// <param name="options">of <see cref="OpenSettings.OfImage"/></param>
    /// <param name="files">descriptors of the chain, or none</param>
    /// <param name="isDriven">see <see cref="IsDriven"/></param>
    /// <param name="log">for what no result tells</param>
    /// <exception cref="Exception">anything that <see cref="Failure.Of(Exception, string)"/> knows; nothing is left behind</exception>
    public static OpenImage Open(AttachOptions options, IReadOnlyList<int> files, bool isDriven, ILog log)
    {
        ArgumentNullException.ThrowIfNull(options);
        var image = Start(options, files, isDriven, log);
        try
        {
            image.OnHome(async () =>
            {
                (image._disk, image._chain) = await image.OpenChainAsync();
                return 0;
            });
        }
        catch
        {
            image.EndLoop();
            throw;
        }

        image.Served.Set(image._disk);
        image._loop.Idle = () => image._disk.WriteBehindWhenIdle();
        if (image._disk is Qcow2Image disk && BitmapWarning.Of(disk.File.Path, disk.Bitmaps, disk.ReadOnly) is { } warning)
            log.Warning(warning);
        return image;
    }

    /// <summary>With a key and descriptors of its own: it may be opened again when those of the caller are gone.</summary>
    private static OpenImage Start(AttachOptions options, IReadOnlyList<int> files, bool isDriven, ILog log)
    {
        var given = options.HeldKey;
        options = KeySources.Collect(options);
        if (given is not null && options.HeldKey == given)
            options = options with { HeldKey = SecretMemory.CopyOf(given.Span) };
        var own = new List<int>();
        try
        {
            foreach (var file in files)
                own.Add(OpenSettings.Duplicate(file));
            return new OpenImage(options, [.. own], isDriven, log);
        }
        catch
        {
            Release(options, own);
            throw;
        }
    }

    private static void Release(AttachOptions options, IEnumerable<int> files)
    {
        options.HeldKey?.Dispose();
        foreach (var file in files)
            _ = Files.Close(file);
    }

    /// <summary>Whether the calling thread may call at all, and wait.</summary>
    /// <returns>0; -EPERM on a thread that the image does not belong to; -EDEADLK inside a callback</returns>
    public int CheckThread(bool waits)
    {
        if (IsDriven && Environment.CurrentManagedThreadId != _owner)
            return -Errno.EPERM;
        return waits && HostCallback.IsRunning ? -Errno.EDEADLK : 0;
    }

    /// <summary>
    /// Refuses what comes from now on, cancels what has not begun, waits for the rest, writes everything down and closes the
    /// files. Once.
    /// </summary>
    /// <returns>0 or a negative errno: the image is closed all the same</returns>
    public int Close()
    {
        _closing = true;
        Interlocked.MemoryBarrier();
        var error = OnHome(CloseAsync);
        EndLoop();
        return error;
    }

    /// <summary>Does what there is to do, without waiting.</summary>
    /// <returns>how many requests have ended</returns>
    public int Process()
    {
        _loop.RunReady();
        return Interlocked.Exchange(ref _ended, 0);
    }

    /// <summary>What a thread posts to the loop is counted from before until <see cref="EndUse"/>.</summary>
    /// <returns>false if the image is being closed</returns>
    internal bool TryUse()
    {
        Interlocked.Increment(ref _pending);
        if (!_closing)
            return true;
        Interlocked.Decrement(ref _pending);
        return false;
    }

    internal void EndUse() => Interlocked.Decrement(ref _pending);

    /// <summary>An asynchronous request has told its end. Any thread.</summary>
    internal void NoteEnd()
    {
        Interlocked.Increment(ref _ended);
        Interlocked.Decrement(ref _inFlight);
    }

    private async LoopTask<int> CloseAsync()
    {
        // Those that wait for space are in progress no more; nobody will make room for them.
        Gate.RefuseWaiting(-Errno.ECANCELED);
        while (Volatile.Read(ref _pending) != 0 || Gate.Active != 0)
            await _loop.DelayAsync(1);
        if (_lost is not null)
            return 0;
        var lost = _disk.WriteErrorReason;
        var error = await _disk.CloseAsync();
        return error == 0 && lost is not null ? -Errno.EIO : error;
    }

    private void EndLoop()
    {
        _loop.Dispose();
        _offload?.Dispose();
        Release(_options, _files);
    }

    private void Distrust(Exception error) => InternalError.Contain(error, _disk, _log);

    /// <summary>Runs something on the loop and waits for its end.</summary>
    private int OnHome(Func<LoopTask<int>> start)
    {
        var call = new HomeCall(start);
        if (IsDriven)
        {
            _loop.Run(call.Begin);
            _loop.RunUntil(() => call.HasEnded);
        }
        else
        {
            _loop.PostFromAnyThread(call.Begin);
        }

        return call.Wait();
    }
}
