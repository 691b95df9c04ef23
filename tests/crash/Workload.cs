using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Crash;

/// <summary>Random requests of several guests at once on an image over recorded storage; one seed decides everything.</summary>
internal sealed class Workload
{
    private const int LargestWrite = 256 << 10;

    private readonly Subject _subject;
    private readonly Random _random;
    private readonly int _alignment;
    private readonly int _seed;
    private readonly int _hotSectors;
    private Qcow2Image _image = null!;
    private int _requestsLeft;

    public Workload(Subject subject, int seed)
    {
        _subject = subject;
        _seed = seed;
        _random = new Random(seed);
        // Direct I/O needs clusters that are not below its alignment.
        var clusterSize = ClusterSize(subject.Image);
        _alignment = _random.Next(3) switch { 0 => 1, 1 => 512, _ => Math.Min(4096, clusterSize) };
        _hotSectors = _random.Next(3) == 0 ? 64 : int.MaxValue;
        History = new GuestHistory(Log);
    }

    public StorageLog Log { get; } = new();

    public GuestHistory History { get; }

    /// <summary>The file when the workload had ended and the image was closed.</summary>
    public SparseBytes After { get; private set; } = null!;

    /// <summary>Answers of the engine are part of the promise: every request must succeed here.</summary>
    public void Run(int requests)
    {
        _requestsLeft = requests;
        using var loop = new SimulatedLoop(_seed);
        After = _subject.Image.Copy();
        var storage = new MemoryStorage(loop, After, _alignment) { Log = Log };
        if (_random.Next(4) == 0)
            storage.Fault = static operation => operation.Kind == StorageOperationKind.Punch ? 95 : 0;
        loop.Run(() => RunAsync(loop, storage));
    }

    private async LoopTask<int> RunAsync(SimulatedLoop loop, MemoryStorage storage)
    {
        var options = new ImageOptions { CacheBytes = _random.Next(2) == 0 ? 16 << 10 : 1 << 20, Report = BrokenRule.Refuse };
        _image = await Qcow2Image.OpenAsync(storage, options, await OpenBackingAsync(loop), await LuksImage.OpenAsync(storage));
        var guests = TaskGroup.Rent();
        var count = _random.Next(1, 9);
        for (var guest = 0; guest < count; guest++)
            guests.Add(GuestAsync());
        Require(await guests.WaitAsync(), "workload");
        var began = History.BeginFlush();
        Require(await _image.CloseAsync(), "close");
        History.EndFlush(began);
        return 0;
    }

    private async LoopTask<IDisk?> OpenBackingAsync(SimulatedLoop loop)
    {
        if (_subject.Backing is null)
            return null;
        var storage = BackingFile.Open(loop, _subject.Backing);
        return await Qcow2Image.OpenAsync(storage, new ImageOptions { ReadOnly = true }, null);
    }

    private async LoopTask<int> GuestAsync()
    {
        using var buffer = new TableBuffer(LargestWrite);
        while (_requestsLeft-- > 0)
            await RequestAsync(buffer);
        return 0;
    }

    private async LoopTask<int> RequestAsync(TableBuffer buffer)
    {
        var kind = _random.Next(100);
        var (offset, length) = Range();
        switch (kind)
        {
            case < 60:
                return await WriteAsync(buffer, offset, length, forceUnitAccess: kind < 8);
            case < 72:
                return await ZeroAsync(offset, length);
            case < 84:
                var number = History.Begin(Change.Discard, offset, length);
                Require(await _image.DiscardAsync(offset, length), "discard");
                History.End(number, durable: false);
                return 0;
            case < 90:
                Require(await LoopTransfer.ReadAsync(_image, offset, buffer.Take(length)), "read");
                return 0;
            default:
                var began = History.BeginFlush();
                Require(await _image.FlushAsync(), "flush");
                History.EndFlush(began);
                return 0;
        }
    }

    private async LoopTask<int> WriteAsync(TableBuffer buffer, long offset, int length, bool forceUnitAccess)
    {
        var number = History.Begin(Change.Write, offset, length);
        GuestHistory.Fill(buffer.Span[..length], number, offset);
        var direct = !forceUnitAccess && _random.Next(2) == 0;
        var data = buffer.Take(length);
        var write = direct ? LoopTransfer.WriteAsync(_image, offset, data) : _image.WriteAsync(offset, data, forceUnitAccess);
        Require(await write, "write");
        History.End(number, forceUnitAccess);
        return 0;
    }

    private async LoopTask<int> ZeroAsync(long offset, int length)
    {
        var flags = _random.Next(2) == 0 ? ZeroFlags.MayUnmap : ZeroFlags.None;
        if (_random.Next(8) == 0)
            flags |= ZeroFlags.ForceUnitAccess;
        var number = History.Begin(Change.Zero, offset, length);
        Require(await _image.WriteZeroesAsync(offset, length, flags), "write zeroes");
        History.End(number, (flags & ZeroFlags.ForceUnitAccess) != 0);
        return 0;
    }

    /// <summary>Single sectors to hundreds of them, aligned to clusters now and then.</summary>
    private (long Offset, int Length) Range()
    {
        var sectors = (int)(_image.Size / GuestHistory.SectorSize);
        var first = _random.Next(Math.Min(sectors, _hotSectors));
        var count = _random.Next(4) switch { 0 => 1, 1 => _random.Next(1, 16), 2 => _random.Next(1, 129), _ => LargestWrite / 512 };
        if (_random.Next(3) == 0)
            (first, count) = (first & ~127, 128);
        count = Math.Min(count, sectors - first);
        return ((long)first * GuestHistory.SectorSize, count * GuestHistory.SectorSize);
    }

    private static int ClusterSize(SparseBytes image)
    {
        Span<byte> bits = stackalloc byte[4];
        image.Read(20, bits);
        return 1 << bits[3];
    }

    private static void Require(int result, string what)
    {
        if (result < 0)
            throw new InvalidOperationException($"{what} failed with errno {-result} though nothing was made to fail");
    }
}
