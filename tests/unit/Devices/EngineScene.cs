using System;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Exports;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Tests.Devices;

/// <summary>An image of qemu's making, attached as a block device of no kernel; requests are made on its home loop.</summary>
internal sealed class EngineScene : IDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly TempDirectory _directory = new();
    private EventLoop? _loop;
    private ServedDisk? _served;

    /// <param name="image">where it is; null for a file of the scene's own</param>
    public EngineScene(string? image = null)
    {
        Image = image ?? _directory.File("disk.qcow2");
        if (image is null)
            Qemu.Img("create", "-q", "-f", "qcow2", Image, "16M");
        RecoveryLog = _directory.File("disk.log");
        Options = new AttachOptions { Image = Image, Cache = CacheMode.Writeback, Queues = 1 };
    }

    public string Image { get; }

    public AttachOptions Options { get; }

    public string RecoveryLog { get; init; }

    public ListLog Log { get; } = new();

    /// <summary>What opens the disk; null for the engine.</summary>
    public OpenDisk? OpenDisk { get; init; }

    public TimeSpan SuspensionLimit { get; init; } = SuspensionWatch.DefaultLimit;

    /// <summary>The next flush of the device fails with this, or 0.</summary>
    public int LostFlush => _served!.BlockDevice.TakeLoss();

    /// <summary>What the export was given.</summary>
    public ServedDisk Served => _served!;

    /// <summary>Another client of the same disk, from now on.</summary>
    public FlushClient NewClient() => _served!.NewClient();

    public EngineDevice Open(FakeExport export, AttachOptions? options = null) =>
        EngineDevice.Open(options ?? Options, "disk", Log, new DeviceHost
        {
            OpenExport = (_, loops, served, _, _) =>
            {
                (_loop, _served) = (loops[0], served);
                return export;
            },
            OpenDisk = OpenDisk ?? ImageChain.OpenAsync,
            RecoveryLog = RecoveryLog,
            SuspensionLimit = SuspensionLimit,
        });

    /// <summary>The next server: it takes the device over as after a crash.</summary>
    public EngineDevice Recover(FakeExport export) => Open(export, Options with { RecoverDevice = export.DevicePath });

    public int Write(long offset, int length, byte value) => OnHome(async () =>
    {
        var buffer = LoopScheduler.Current.Buffers.Rent(length);
        buffer.Span.Fill(value);
        var error = await _served!.Disk.WriteAsync(offset, buffer, forceUnitAccess: false);
        LoopScheduler.Current.Buffers.Return(buffer);
        return error;
    });

    /// <summary>Whether the whole range holds this value.</summary>
    public bool Holds(long offset, int length, byte value) => OnHome(async () =>
    {
        var buffer = LoopScheduler.Current.Buffers.Rent(length);
        var error = await _served!.Disk.ReadAsync(offset, buffer);
        var all = !buffer.Span[..length].ContainsAnyExcept(value);
        LoopScheduler.Current.Buffers.Return(buffer);
        return error < 0 ? error : all ? 1 : 0;
    }) == 1;

    public void Dispose() => _directory.Dispose();

    private int OnHome(Func<LoopTask<int>> start)
    {
        using var done = new ManualResetEventSlim();
        var result = 0;
        _loop!.PostFromAnyThread(() => RunAsync().Forget());
        if (!done.Wait(Patience))
            throw new TimeoutException("the home loop does not answer");
        return result;

        async LoopTask<int> RunAsync()
        {
            result = await start();
            done.Set();
            return 0;
        }
    }
}
